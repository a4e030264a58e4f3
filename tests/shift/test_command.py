import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps
from tiny_study import PATIENCE_S, command, draw_folder, start, wait_until

from search.common.commandline import exit_code
from search.shift.__main__ import app

ROOT = Path(__file__).parents[2]
FOLDS, SEEDS = 2, 2
OPTIONS = ("--folds", FOLDS, "--seeds", SEEDS, "--least-images", 4)


@pytest.fixture(scope="module")
def third(tmp_path_factory):
    """A laboratory whose labels are numbers, with one image of a class and another that nobody else has."""
    folder = draw_folder(tmp_path_factory.mktemp("data") / "third <b>", side=14, n_images=9, seed=2)
    for number, name in enumerate(("Basophil", "eosinophil", "Neutrophil"), start=1):
        (folder / name).rename(folder / str(number))
    for file in sorted((folder / "1").iterdir())[1:]:
        file.unlink()
    (folder / "blast").mkdir()
    for file in (folder / "3").iterdir():
        ImageOps.invert(Image.open(file)).save(folder / "blast" / file.name)
    return folder


@pytest.fixture(scope="module")
def arguments(space, cells, others, third):
    names = "1=basophil,2=eosinophil,3=neutrophil"
    return ("search.shift", cells, others, third, "--space", space, "--class-names", names, *OPTIONS)


@pytest.fixture(scope="module")
def matrix(arguments, tmp_path_factory):
    """The folder of a finished matrix, and what was printed."""
    folder = tmp_path_factory.mktemp("output") / "matrix"
    done = command(*arguments, "--output", folder, env=os.environ)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def predictions(folder):
    return pd.concat([pd.read_parquet(file) for file in sorted((folder / "trainings").iterdir())])


def refused(capsys, *given):
    """The one line that the command ends with."""
    assert exit_code(app, [str(each) for each in given]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_every_network_is_tested_on_all_images_that_it_may_be_tested_on(matrix, cells, others, third):
    names = [cells.name, others.name, third.name]
    rows = predictions(matrix[0])
    assert set(rows["trained_on"]) == set(rows["tested_on"]) == set(names)
    assert "blast" not in set(rows["label"])
    counts = {cells.name: 42, others.name: 24, third.name: 19}
    for (trained_on, tested_on, _), part in rows.groupby(["trained_on", "tested_on", "seed"]):
        times = part["image"].value_counts()
        if trained_on != tested_on:
            assert (times == FOLDS).all()
            assert len(times) == counts[tested_on]
        else:
            assert (times == 1).all()  # once in each partition
            assert len(times) == counts[tested_on] - (tested_on == third.name)


def test_seeds_vary_the_folds(matrix, cells):
    own = predictions(matrix[0]).query("trained_on == tested_on and trained_on == @cells.name and fold == 0")
    first, second = (set(part["image"]) for _, part in own.groupby("seed"))
    assert first != second


def test_table_holds_every_pair_with_scores_inside_intervals_and_meanings(matrix, cells, third):
    table = pq.read_table(matrix[0] / "shift.parquet")
    assert all(field.metadata[b"description"] for field in table.schema)
    frame = table.to_pandas()
    assert len(frame) == 9
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        assert (frame[f"{metric}_low"] <= frame[metric]).all()
        assert (frame[metric] <= frame[f"{metric}_high"]).all()
        assert (frame[f"{metric}_difference"].isna() == (frame["trained_on"] == frame["tested_on"])).all()
    for _, column in frame.groupby("tested_on"):
        assert column["n_images"].nunique() == 1
        own = column[column["trained_on"] == column["tested_on"]].iloc[0]
        elsewhere = column[column["trained_on"] != column["tested_on"]]
        wanted = elsewhere["accuracy"] - own["accuracy"]
        np.testing.assert_allclose(elsewhere["accuracy_difference"], wanted, atol=1e-12)
    scored = frame.set_index("tested_on")["scored_classes"]
    assert set(scored[third.name]) == {"eosinophil, neutrophil"}
    assert set(scored[cells.name]) == {"basophil, eosinophil, neutrophil"}


def test_accuracies_are_those_of_the_predictions(matrix, third):
    rows = predictions(matrix[0])
    rows = rows[(rows["tested_on"] != third.name) | (rows["label"] != "basophil")]  # its only one is never scored
    correct = (rows["label"] == rows["predicted"]).groupby([rows["trained_on"], rows["tested_on"]]).mean()
    frame = pd.read_parquet(matrix[0] / "shift.parquet").set_index(["trained_on", "tested_on"])
    np.testing.assert_allclose(frame["accuracy"], correct[frame.index])


def test_page_is_one_safe_file_without_paths(matrix, cells, third):
    page = (matrix[0] / "shift.html").read_text()
    assert third.name not in page
    assert "third &lt;b&gt;" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    for text in (page, (matrix[0] / "shift.json").read_text()):
        assert str(cells.parent) not in text
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        for kind in ("png", "svg"):
            assert (matrix[0] / "figures" / f"{metric}.{kind}").stat().st_size > 1000


@pytest.mark.slow
def test_interrupted_matrix_goes_on_to_the_same_numbers(arguments, matrix, tmp_path):
    folder = tmp_path / "interrupted"
    run = start(*arguments, "--output", folder)
    wait_until(lambda: list((folder / "trainings").glob("*.parquet")), run)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    kept = {file.name: file.stat().st_mtime_ns for file in (folder / "trainings").glob("*.parquet")}
    assert 0 < len(kept) < 3 * FOLDS * SEEDS
    assert not list((folder / "trainings").glob(".*"))
    done = command(*arguments, "--output", folder, env=os.environ)
    assert done.returncode == 0, done.stderr
    for name, time_ns in kept.items():
        assert (folder / "trainings" / name).stat().st_mtime_ns == time_ns
    pd.testing.assert_frame_equal(*(pd.read_parquet(each / "shift.parquet") for each in (folder, matrix[0])))


def test_other_arguments_images_or_networks_are_refused_in_the_same_folder(
    arguments, matrix, others, tmp_path, capsys
):
    _, first, second, third, *options = map(str, arguments)
    output = ("--output", matrix[0])
    for changed in (("--folds", "3"), ("--level", "none"), ("--least-images", "5")):
        assert "--output" in refused(capsys, first, second, third, *options, *changed, *output)
    same_name = tmp_path / others.name
    shutil.copytree(others, same_name)
    next(same_name.glob("*/*.png")).unlink()
    assert others.name in refused(capsys, first, same_name, third, *options, *output)


def test_damaged_training_is_named(arguments, matrix, tmp_path, capsys):
    shutil.copytree(matrix[0], tmp_path / "copy")
    file = next((tmp_path / "copy" / "trainings").iterdir())
    file.write_bytes(file.read_bytes()[:100])
    assert file.name in refused(capsys, *arguments[1:], "--output", tmp_path / "copy")


@pytest.mark.slow
def test_winner_of_a_study_is_trained(cells, others, tmp_path):
    study = ROOT / "results" / "residual_placement-pbc2172-lisc255"
    folder = tmp_path / "matrix"
    given = ("search.shift", cells, others, "--study", study, *OPTIONS, "--seeds", 1, "--output", folder)
    done = command(*given, env=os.environ)
    assert done.returncode == 0, done.stderr
    winner = json.loads((folder / "shift.json").read_text())["configuration"]
    described = json.loads((study / "model" / "config.json").read_text())
    assert winner["placement"] == described["level"]
    assert winner["dropout"] == described["settings"]["dropout"]
    assert winner["lr"] == described["settings"]["lr"]


def test_bad_input_is_refused_before_anything_is_trained(
    space, cells, others, third, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    two = (cells, others)
    assert "basophil" in refused(capsys, *two, third)  # what --class-names could name
    assert "1=" in refused(capsys, *two, third)
    for culprit, given in {
        str(cells): (cells,),
        cells.name: (cells, cells),
        "none-here": (cells, tmp_path / "none-here"),
        "--class-names 9": (*two, "--class-names", "9=basophil"),
        "--groups elsewhere": (*two, "--groups", "elsewhere=^."),
        "--groups nonsense": (*two, "--groups", "nonsense"),
        "--level 9": (*two, "--space", space, "--level", "9"),
        "--space nothing": (*two, "--space", "nothing"),
        "--level 1": (*two, "--level", "1", "--study", tmp_path),
        "--least-images 50": (*two, "--space", space, "--least-images", "50"),
        "--seeds 0": (*two, "--seeds", "0"),
        "100 folds": (*two, "--space", space, "--least-images", "4", "--folds", "100"),
        str(tmp_path): (*two, "--study", tmp_path),
    }.items():
        assert culprit in refused(capsys, *given)
    assert not list(tmp_path.iterdir())
