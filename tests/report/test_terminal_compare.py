"""What `search.show --compare A B` prints, and how it ends."""

import io
import json
import os
import re
import shutil

import pandas as pd
import pytest
from made_studies import LEVELS, METRIC, PAPER, write_study
from rich.console import Console
from tiny_study import command

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
    """Runs the command and gives its one line of complaint."""

    def run_it(*arguments):
        assert exit_code(show.app, [*map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        return printed.err

    return run_it


def row(lines, name):
    """The cells of the first row of this name."""
    return next(re.split(r" {2,}", line.strip()) for line in lines if re.match(rf"{re.escape(name)}  ", line))


def holds(lines, text):
    return text in " ".join(" ".join(lines).split())


def test_a_study_beside_its_copy_differs_in_nothing(shown, study, tmp_path):
    lines = shown(study, shutil.copytree(study, tmp_path / "copy"))
    assert lines[:3] == [f"A  {study}", f"B  {tmp_path / 'copy'}", "same images, same settings, same program"]
    assert "What differs" not in lines
    for level in (*LEVELS, *PAPER):
        assert row(lines, level)[3:] == ["+0.0 (+0.0 to +0.0)", "1.000"]
    for name in (*LEVELS, *PAPER, "winner", "its MMACs", f"its test {METRIC}"):
        assert row(lines, name)[1] == row(lines, name)[2]


def test_swapped_studies_swap_columns_and_flip_signs(shown, study, tmp_path):
    other = write_study(tmp_path / "other", network=1)
    lines, swapped = shown(study, other), shown(other, study)
    for level in (*LEVELS, *PAPER):
        _, a, b, difference, p = row(lines, level)
        mean, low, high = (-float(number) for number in re.findall(r"[+-]\d+\.\d", difference))
        assert row(swapped, level) == [level, b, a, f"{mean:+.1f} ({high:+.1f} to {low:+.1f})", p]
    assert holds(lines, "Both were scored on the same 10 folds of the same images")


@pytest.mark.parametrize(
    ("options", "named"),
    [({"seed": 1}, "seed"), ({"n_folds": 5}, "folds"), ({"fingerprint": "other"}, "images")],
)
def test_unpaired_studies_have_an_interval_each_and_no_test(shown, study, tmp_path, options, named):
    lines = shown(study, write_study(tmp_path / "other", **options))
    assert row(lines, named)
    assert holds(lines, "not scored on the same folds of the same images, so no paired test is made")
    assert not holds(lines, "Holm")
    for cell in row(lines, "none")[2::2]:
        low, high = map(float, cell.split("–"))
        assert 0 < low < high <= 1


def test_a_level_of_one_study_is_named_even_if_it_looks_like_markup(shown, study, tmp_path):
    lines = shown(study, write_study(tmp_path / "other", levels=("none", "1", "[bold]new")))
    assert row(lines, "2")[2:] == ["–", "–", "–"]
    assert row(lines, "[bold]new")[1::2] == ["–", "–"]
    assert row(lines, "levels") == ["levels", "none, 1, 2", "none, 1, [bold]new"]


def test_what_the_difference_leaves_out_is_said(shown, study, tmp_path):
    lines = shown(study, write_study(tmp_path / "other", repeats=3))
    assert holds(lines, "Further folds of B are in the pooled values only.")
    assert not holds(shown(study, shutil.copytree(study, tmp_path / "copy")), "Further folds")


def test_other_metrics_test_sets_and_second_scores_are_said(shown, study, tmp_path):
    other = write_study(tmp_path / "other", fingerprint="other", metric="accuracy")
    description = json.loads((other / "study.json").read_text())
    (other / "study.json").write_text(json.dumps(description | {"test_scored": 2}))
    lines = shown(study, other)
    assert f"B searched for accuracy; here both are compared by A's metric, {METRIC}." in lines
    assert "Their test sets are not the same images." in lines
    assert "The test set of B was scored 2 times as the study grew." in lines


def test_drawn_cells_are_no_evidence(shown, study, tmp_path):
    drawn = shutil.copytree(study, tmp_path / "drawn")
    text = (drawn / "study.json").read_text()
    (drawn / "study.json").write_text(text.replace('"cells"', '"synthetic"'))
    assert not holds(shown(study, shutil.copytree(study, tmp_path / "copy")), "no evidence")
    assert "no evidence" in shown(study, drawn)[-1]
    assert "no evidence" in shown(drawn, study)[-1]


def test_interrupted_studies(shown, study, tmp_path):
    later = shutil.ignore_patterns("comparison.*", "folds.*", "predictions.*", "transfer.*")
    begun = shutil.copytree(study, tmp_path / "begun", ignore=later)
    lines = shown(study, begun)
    assert f"Search so far: {METRIC} of each level's best trial" in lines
    assert row(lines, "1") == ["1", "0.540", "0.540"]
    assert holds(lines, "B has no comparison yet. Values of a search flatter")
    assert holds(shown(begun, study), "A has no comparison yet.")
    bare = shutil.copytree(study, tmp_path / "bare", ignore=shutil.ignore_patterns("*.parquet"))
    lines = shown(bare, begun)
    assert row(lines, "1") == ["1", "–", "0.540"]
    assert row(lines, "trials")[1:] == ["none", "6 COMPLETE"]
    assert holds(lines, "A and B have no comparison yet.")


def test_a_tiny_p_is_not_printed_as_zero(shown, study, tmp_path):
    better = shutil.copytree(study, tmp_path / "better")
    folds = pd.read_parquet(better / "folds.parquet")
    folds.assign(**{METRIC: folds[METRIC] + 0.04 + 0.0001 * folds["fold"]}).to_parquet(better / "folds.parquet")
    assert row(shown(study, better), "none")[-1] == "<0.001"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_rows_stay_whole_on_a_narrow_terminal(study, tmp_path, width):
    out = io.StringIO()
    other = write_study(tmp_path / "other", network=1)
    print_compared(Console(file=out, width=width, force_terminal=True, highlight=False), study, other)
    text = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert text != out.getvalue()
    lines = text.splitlines()[2:]  # without the paths, which are left to the terminal to wrap
    assert max(map(len, lines)) <= width
    for level in (*LEVELS, *PAPER):
        cells = "  ".join(row(lines, level)[1:])
        assert re.fullmatch(r"0\.\d{3}  0\.\d{3}  \S+ \(\S+ to \S+\)  [01]\.\d{3}", cells)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--compare", "STUDY", "no/such/folder"), "no/such/folder"),
        (("--compare", "no/such/folder", "STUDY"), "no/such/folder"),
        (("--compare", "STUDY", "EMPTY"), "EMPTY"),
        (("--compare", "STUDY", "STUDY/study.json"), "study.json"),
        (("--compare", "STUDY", "EMPTY/../one"), "one folder, not two"),
        (("--compare", "STUDY"), "--compare"),
        (("--compare",), "--compare"),
        (("--compare", "STUDY", "OTHER", "third"), "third"),
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


@pytest.mark.parametrize("text", ["{}", "[1]", '{"arguments": {"metric": "accuracy"}}', "{", ""])
def test_a_file_that_describes_no_study_is_named(complains, study, tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    assert str(tmp_path / "study.json") in complains("--compare", study, tmp_path)


def test_a_damaged_table_is_named(complains, study, tmp_path):
    damaged = shutil.copytree(study, tmp_path / "damaged")
    (damaged / "folds.parquet").write_bytes(b"PAR1 cut off")
    assert str(damaged / "folds.parquet") in complains("--compare", study, damaged)


def test_the_command_itself(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    before = {file: file.read_bytes() for file in copy.iterdir()}
    ended = command("search.show", "--compare", study, copy, env={**os.environ, "COLUMNS": "60"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[2] == "same images, same settings, same program"
    assert row(lines, "paper_plain")[3:] == ["+0.0 (+0.0 to +0.0)", "1.000"]
    assert {file: file.read_bytes() for file in copy.iterdir()} == before
    ended = command("search.show", "--compare", study, tmp_path / "nowhere")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"error: {tmp_path / 'nowhere'}: there is no study in it (no study.json)\n"
