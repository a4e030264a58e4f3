"""A study's tables in the terminal."""

import io
import re

import pytest
from addresses import in_memory
from rich.console import Console
from written_study import KINDS, write_study

from search.analysis.verdict import verdict
from search.analysis.words import p_text
from search.common.commandline import exit_code
from search.common.errors import InputError
from search.compare import app as compare
from search.records.results import read_results
from search.report.terminal import print_results
from search.show import app as show


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
    for name in ("[bold]x", "[/x]", "[bold]x − none", "Transfer to [/]others", "norm "):
        assert name in text


def test_the_answer_comes_first_and_every_contrast_has_the_verdicts_p(study):
    text, found = shown(study), verdict(read_results(study))
    assert text.startswith(found.headline)
    for finding in found.main:
        (line,) = [line for line in text.splitlines() if line.startswith(f"{finding.contrast}  ")]
        assert re.split(r" {2,}", line.strip())[2:] == [finding.interval, p_text(finding.p), str(finding.outcome)]


@pytest.mark.parametrize("kind", ["own", "collapse", "few", "one level", "plain"])
def test_every_kind_of_study_is_shown(tmp_path, kind):
    folder = write_study(tmp_path / "study", stop=("transfer", 0), **{"n_trials": 24, **KINDS[kind]})
    text = shown(folder, width=60)
    assert max(map(len, text.splitlines()[:-1])) <= 60
    assert not re.search(r"\b(nan|None)\b", text)
    found = " ".join(text.split())
    assert verdict(read_results(folder)).headline in found
    assert ("predicts one class alone: 3 at setting 1 in 10 of 10" in found) == (kind == "collapse")


def test_a_narrow_terminal_loses_no_table(study):
    text = shown(study, width=40)
    assert all(len(line) <= 40 for line in text.splitlines() if "parquet" not in line)
    for title in ("Best trials", "Effects and differences", "Levels", "Transfer to", "Best estimate"):
        assert title in text


@pytest.mark.parametrize("description", ["{}", '{"arguments": 5}', "[" * 100_000, "[]", "not JSON"])
def test_what_describes_no_study_is_named(tmp_path, description):
    (tmp_path / "study.json").write_text(description)
    with pytest.raises(InputError, match=r"study\.json"):
        shown(tmp_path)


def test_a_study_at_an_address_is_shown_and_compared_as_its_folder_is(study, tmp_path, monkeypatch, capsys):
    address = in_memory(study, monkeypatch, tmp_path / "cache")
    other = write_study(tmp_path / "other", stop=("transfer", 0), n_trials=6)
    for app, others in ((show, []), (compare, [str(other)])):
        texts = []
        for place in (str(study), address):
            assert exit_code(app, [place, *others]) == 0
            texts.append(capsys.readouterr().out)
        of_folder, of_address = (re.sub(r"\S*/study\b", "STUDY", text) for text in texts)
        assert of_folder == of_address
        assert len(of_folder) > 500
