"""A study's tables in the terminal."""

import io

import pytest
from rich.console import Console
from written_study import write_study

from search.common.errors import InputError
from search.show import print_results


def shown(folder, width=200):
    console = Console(file=io.StringIO(), width=width)
    print_results(console, folder)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose names look like the markup of the terminal's library."""
    levels, data = ("none", "[bold]x", "[/x]"), ("[red]cells", "[/]others")
    folder = tmp_path_factory.mktemp("show") / "study"
    return write_study(folder, n_trials=6, n_images=200, levels=levels, data=data)


def test_names_are_shown_as_they_are(study):
    text = shown(study)
    for name in ("[bold]x", "[/x]", "Transfer to [/]others", "minus none, points (95 %)", "norm "):
        assert name in text
    assert "Winner " in text


def test_a_narrow_terminal_loses_no_table(study):
    text = shown(study, width=40)
    assert all(len(line) <= 40 for line in text.splitlines() if "parquet" not in line)
    for title in ("Best trials", "Comparison, each level", "Comparison, all", "Transfer to", "Winner "):
        assert title in text


@pytest.mark.parametrize("description", ["{}", '{"arguments": 5}', "[" * 100_000, "[]", "not JSON"])
def test_what_describes_no_study_is_named(tmp_path, description):
    (tmp_path / "study.json").write_text(description)
    with pytest.raises(InputError, match=r"study\.json"):
        shown(tmp_path)
