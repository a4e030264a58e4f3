"""Every mistake of a user's ends with exit code 2 and one line that names it, before anything is trained."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search import predict, run, show
from search.common.commandline import exit_code

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


def colour(value, side=16, dtype=np.uint8):
    return Image.fromarray(np.full((side, side, 3) if dtype == np.uint8 else (side, side), value, dtype=dtype))


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            colour(40 * i).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


@pytest.fixture
def fails(capsys, tmp_path):
    """Runs a command line and gives its one line of complaint."""

    def run_it(*arguments, app=run.app):
        output = () if app is not run.app else ("--output", str(tmp_path / "results"))
        code = exit_code(app, [*map(str, arguments), *output])
        printed = capsys.readouterr()
        lines = printed.err.strip().splitlines()
        assert code == 2, printed
        assert len(lines) == 1, lines
        assert "Traceback" not in printed.err + printed.out
        assert not list((tmp_path / "results").glob("*/journal.jsonl"))
        return lines[0]

    return run_it


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--folds", "1"), "--folds 1"),
        (("--trials", "-3"), "--trials -3"),
        (("--trials", "many"), "--trials"),
        (("--time-budget", "soon"), "--time-budget soon"),
        (("--search-folds", "0"), "--search-folds 0"),
        (("--repeats", "0"), "--repeats 0"),
        (("--seed", "-1"), "--seed -1"),
        (("--profile", "huge"), "--profile huge"),
        (("--metric", "f7"), "--metric f7"),
        (("--class-names", "1:neutrophil"), "1:neutrophil"),
        (("--cpus-per-trial", "0"), "--cpus-per-trial 0"),
        (("--gpus-per-trial", "-0.5"), "--gpus-per-trial -0.5"),
        (("--max-concurrent", "0"), "--max-concurrent 0"),
        (("--space", "nowhere"), "nowhere"),
        (("--space", "nowhere.py"), "nowhere.py"),
        (("--data", "no/such/folder"), "no/such/folder"),
        (("--transfer-data", "no/such/folder"), "no/such/folder"),
        (("--resume", "no/such/study"), "no/such/study"),
        (("--resume", "no/such/study", "--trials", "64"), "no/such/study"),
        (("--resume", "no/such/study", "--folds", "5"), "--folds"),
        (("--resume", "no/such/study", "--name", "other"), "--name"),
        (("--force",), "--force"),
        (("--sampler", "grid"), "--sampler grid"),
        (("--pruner", "median"), "--pruner median"),
        (("--finalists", "0"), "--finalists 0"),
        (("--objectives", "macs"), "--objectives macs"),
        (("--trial-timeout", "soon"), "--trial-timeout soon"),
        (("--colour", "blue"), "--colour"),
    ],
)
def test_wrong_argument(fails, arguments, named):
    assert named in fails(*arguments)


def test_existing_study_folder(fails, folder, tmp_path):
    (tmp_path / "results" / "mine").mkdir(parents=True)
    assert "mine" in fails("--data", folder, "--name", "mine")


def test_one_class(fails, tmp_path):
    (tmp_path / "data" / "only").mkdir(parents=True)
    for i in range(4):
        colour(i).save(tmp_path / "data" / "only" / f"{i}.png")
    assert "only" in fails("--data", tmp_path / "data")


def test_two_classes_of_which_one_has_a_single_image(fails, tmp_path):
    for name, n_images in (("a", 1), ("b", 9)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(n_images):
            colour(i).save(tmp_path / "data" / name / f"{i}.png")
    assert "two" in fails("--data", tmp_path / "data")


def test_unreadable_folder(fails, folder, monkeypatch):
    real = os.scandir

    def refuse(path="."):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    line = fails("--data", folder)
    assert str(folder) in line
    assert "ermission" in line


def test_missing_group(fails, folder):
    assert "patient" in fails("--data", folder, "--groups", "patient")


@pytest.fixture
def joined(cluster):
    """Options that join a running Ray, which starts sooner than one of a study's own."""
    return "--address", cluster.address


def damage_truncated_jpeg(path):
    whole = path.with_suffix(".jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    whole.write_bytes(whole.read_bytes()[:-900])
    return whole


def damage_empty(path):
    path.write_bytes(b"")
    return path


def damage_text(path):
    path.write_text("no image")
    return path


@pytest.mark.ray
@pytest.mark.parametrize("damage", [damage_truncated_jpeg, damage_empty, damage_text])
def test_damaged_image_is_named(fails, joined, folder, damage):
    bad = damage(folder / "a" / "bad.png")
    line = fails("--data", folder, "--profile", "quick", "--folds", 2, *joined)
    assert str(bad) in line
    assert "--skip-bad" in line


@pytest.mark.ray
def test_more_folds_than_images(fails, joined, folder):
    assert "99 folds" in fails("--data", folder, "--profile", "quick", "--folds", 99, *joined)


@pytest.mark.ray
def test_more_than_the_machine_has(fails, joined, folder):
    assert "--cpus-per-trial 4096" in fails("--data", folder, "--cpus-per-trial", 4096, *joined)
    assert "--gpus-per-trial 9" in fails("--data", folder, "--gpus-per-trial", 9, *joined)


@pytest.mark.ray
def test_sixteen_bit_tif_loads_and_plan_is_printed(joined, folder, capsys):
    for name in ("a", "b"):
        for i in range(3):
            colour(9000 * (i + 1), dtype=np.uint16).save(folder / name / f"deep{i}.tif")
    assert (
        exit_code(run.app, ["--data", str(folder), "--profile", "quick", "--dry-run", "--folds", "2", *joined])
        == 0
    )
    printed = capsys.readouterr().out
    assert "18 images" in printed
    for text in ("at most about", "MACs", "1+2+3", "paper_plain"):
        assert text in printed


@pytest.mark.ray
@pytest.mark.parametrize(
    ("name", "n_images", "options"),
    [
        ("pbc2172", 2172, ()),
        ("lisc255", 255, ()),
        ("bccd351", 351, ()),
        ("jtsc300", 300, ("--class-names", "1=neutrophil,2=lymphocyte,3=monocyte,4=eosinophil,5=basophil")),
    ],
)
def test_real_folders_are_planned(capsys, joined, name, n_images, options):
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"needs the images of {name} beside the project")
    arguments = ["--data", str(SHARED_DATA / name), "--profile", "quick", "--dry-run", *options, *joined]
    assert exit_code(run.app, arguments) == 0
    assert f"{name}, {n_images} images (basophil" in capsys.readouterr().out


@pytest.mark.parametrize("app", [show.app, predict.app], ids=["show", "predict"])
def test_no_study_there(fails, app, tmp_path):
    more = [tmp_path / "x.png"] if app is predict.app else []
    assert str(tmp_path) in fails(tmp_path, *more, app=app)


def test_damaged_table(fails, tmp_path):
    description = {"arguments": {"metric": "accuracy"}, "data": {}, "reference": "none"}
    (tmp_path / "study.json").write_text(json.dumps(description))
    (tmp_path / "trials.parquet").write_bytes(b"PAR1 cut off")
    assert "trials.parquet" in fails(tmp_path, app=show.app)
