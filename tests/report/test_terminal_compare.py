"""`search.show --compare A B`."""

import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from made_studies import LEVELS, METRIC, PAPER, write_study
from rich.console import Console

from search import show
from search.common.commandline import exit_code
from search.report.terminal_compare import print_compared


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("studies") / "one")


@pytest.fixture
def shown(capsys):
    """Compares two folders and gives the lines that are printed."""

    def show_it(*folders):
        assert exit_code(show.app, ["--compare", *map(str, folders)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert "\x1b" not in printed.out
        return printed.out.splitlines()

    return show_it


@pytest.fixture
def complains(capsys):
    """Runs the command and gives its one error line."""

    def run_it(*arguments):
        assert exit_code(show.app, [*map(str, arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run_it


def row(lines, name):
    """The texts of the first row of this name."""
    return next(re.split(r" {2,}", line.strip()) for line in lines if re.match(rf"{re.escape(name)}  ", line))


def contains(lines, text):
    return text in " ".join(" ".join(lines).split())


def change(folder, **entries):
    """Change a study's description."""
    content = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(content | entries))
    return folder


def test_a_study_next_to_its_copy_differs_in_nothing(shown, study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    before = {file: file.read_bytes() for file in copy.iterdir()}
    lines = shown(study, copy)
    assert lines[:3] == [f"A  {study}", f"B  {copy}", "same images, same settings, same program"]
    for level in (*LEVELS, *PAPER):
        assert row(lines, level)[3:] == ["+0.0 (+0.0 to +0.0)", "1.00"]
    for name in (*LEVELS, *PAPER, "winner", "its MMACs", f"its test {METRIC}", f"its best transfer, {METRIC}"):
        assert row(lines, name)[1] == row(lines, name)[2]
    assert contains(lines, "same 20 folds")
    assert not contains(lines, "synthetic")
    assert not contains(lines, "Further folds")
    assert {file: file.read_bytes() for file in copy.iterdir()} == before


def test_swapped_studies_swap_columns_and_flip_signs(shown, study, tmp_path):
    other = write_study(tmp_path / "other", network=1)
    lines, swapped = shown(study, other), shown(other, study)
    for level in (*LEVELS, *PAPER):
        _, a, b, difference, p = row(lines, level)
        mean, low, high = (-float(number) for number in re.findall(r"[+-]\d+\.\d", difference))
        assert row(swapped, level) == [level, b, a, f"{mean:+.1f} ({high:+.1f} to {low:+.1f})", p]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"seed": 1}, "seed"), ({"n_folds": 5}, "folds"), ({"fingerprint": "other"}, "images")],
)
def test_unpaired_studies_have_an_interval_each_and_no_test(shown, study, tmp_path, options, named):
    lines = shown(study, write_study(tmp_path / "other", **options))
    assert row(lines, named)
    assert contains(lines, "no paired test")
    for interval in row(lines, "none")[2::2]:
        low, high = map(float, interval.split("–"))
        assert 0 < low < high <= 1


def test_a_level_of_one_study_is_named_even_if_it_looks_like_markup(shown, study, tmp_path):
    lines = shown(study, write_study(tmp_path / "other", levels=("none", "1", "[bold]new")))
    assert row(lines, "2")[2:] == ["–", "–", "–"]
    assert row(lines, "[bold]new")[1::2] == ["–", "–"]
    assert row(lines, "levels") == ["levels", "none, 1, 2", "none, 1, [bold]new"]


def test_what_limits_the_comparison_is_noted(shown, study, tmp_path):
    longer = shown(study, write_study(tmp_path / "longer", repeats=3))
    assert contains(longer, "Further folds of B")
    other = write_study(tmp_path / "other", fingerprint="other", metric="accuracy")
    lines = shown(study, change(other, test_scored=2))
    assert contains(lines, "B searched for accuracy")
    assert contains(lines, "test sets are not the same")
    assert contains(lines, "test set of B was scored 2 times")
    data = json.loads((study / "study.json").read_text())["data"]
    drawn = change(shutil.copytree(study, tmp_path / "drawn"), data={"synthetic": data["cells"]})
    assert all("synthetic" in shown(*pair)[-1] for pair in ((study, drawn), (drawn, study)))


def test_interrupted_studies(shown, study, tmp_path):
    later = shutil.ignore_patterns("comparison.*", "folds.*", "predictions.*", "transfer.*")
    begun = shutil.copytree(study, tmp_path / "begun", ignore=later)
    lines = shown(study, begun)
    assert row(lines, "1") == ["1", "0.540", "0.540"]
    assert contains(lines, "B has no comparison yet")
    bare = shutil.copytree(study, tmp_path / "bare", ignore=shutil.ignore_patterns("*.parquet"))
    lines = shown(bare, begun)
    assert row(lines, "1") == ["1", "–", "0.540"]
    assert row(lines, "trials")[1:] == ["none", "6 COMPLETE"]
    assert contains(lines, "A and B have no comparison yet")


def test_a_tiny_p_is_not_printed_as_zero(shown, study, tmp_path):
    better = shutil.copytree(study, tmp_path / "better")
    rows = pd.read_parquet(better / "predictions.parquet")
    of_a = np.where(rows["label"] == "a", 0.1, 0.9)  # all wrong
    rows.assign(probability_a=of_a, probability_b=1 - of_a).to_parquet(better / "predictions.parquet")
    assert row(shown(study, better), "none")[-1] == "< 0.001"


@pytest.mark.parametrize("width", [60, 80])
def test_rows_stay_whole_on_a_narrow_terminal(study, tmp_path, width):
    out = io.StringIO()
    other = write_study(tmp_path / "other", network=1)
    print_compared(Console(file=out, width=width, force_terminal=True, highlight=False), study, other)
    lines = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()).splitlines()[2:]  # without the paths, which wrap anywhere
    assert max(map(len, lines)) <= width
    for level in (*LEVELS, *PAPER):
        texts = "  ".join(row(lines, level)[1:])
        assert re.fullmatch(r"0\.\d{3}  0\.\d{3}  (\S+ \(\S+ to \S+\)  [01]\.\d{2,3})", texts)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--compare", "STUDY", "no/such/folder"), "no/such/folder"),
        (("--compare", "EMPTY", "STUDY"), "EMPTY"),
        (("--compare", "STUDY", "STUDY/study.json"), "study.json"),
        (("--compare", "STUDY", "EMPTY/../one"), "EMPTY/../one"),
        (("--compare", "STUDY"), "--compare"),
        (("third", "--compare", "STUDY", "OTHER"), "third"),
        ((), "--compare"),
    ],
)
def test_wrong_arguments(complains, study, tmp_path, arguments, named):
    shutil.copytree(study, tmp_path / "one")
    (tmp_path / "empty").mkdir()
    texts = [named, *arguments]
    for word, place in (("STUDY", tmp_path / "one"), ("EMPTY", tmp_path / "empty"), ("OTHER", study)):
        texts = [text.replace(word, str(place)) for text in texts]
    assert texts[0] in complains(*texts[1:])


@pytest.mark.parametrize("name", ["study.json", "folds.parquet"])
def test_a_damaged_file_is_named(complains, study, tmp_path, name):
    damaged = shutil.copytree(study, tmp_path / "damaged")
    (damaged / name).write_bytes(b"{}")
    assert str(damaged / name) in complains("--compare", study, damaged)
