"""A user's mistake ends with exit code 2 and one line that names it, before anything is trained."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search import run, show
from search.common.commandline import exit_code
from search.predict.__main__ import app as predict_app

REFERENCE_STUDY = Path(__file__).parents[2] / "results" / "residual_placement-pbc2172-lisc255"


@pytest.fixture
def make_folder(tmp_path):
    """Makes a folder of images from the number of images of each class."""

    def make(**counts):
        for name, n_images in counts.items():
            (tmp_path / "data" / name).mkdir(parents=True)
            for i in range(n_images):
                pixels = np.full((16, 16, 3), 20 * i, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
        return tmp_path / "data"

    return make


@pytest.fixture
def folder(make_folder):
    return make_folder(a=6, b=6)


@pytest.fixture
def fails(capsys, tmp_path):
    """Runs a command line and returns its error, which is one line."""

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
        (("--trials", "many"), "--trials many"),
        (("--metric", "f7"), "--metric f7"),
        (("--objectives", "macs"), "--objectives macs"),
        (("--gpus-per-trial", "some"), "--gpus-per-trial some"),
        (("--trial-timeout", "soon"), "--trial-timeout soon"),
        (("--colour", "blue"), "--colour"),
        (("--space", "nowhere"), "nowhere"),
        (("--space", "nowhere.py"), "nowhere.py"),
        (("--data", "no/such/folder"), "no/such/folder"),
        (("--data", "pcb"), "pbc"),
        (("--data", "lisc", "--data-dir", "no/such/folder"), "no/such/folder"),
        (("--data", "nothing://bucket/cells", "--data-dir", "no/such/folder"), "nothing://"),
        (("--transfer-data", "no/such/folder"), "no/such/folder"),
        (("--address", "nowhere"), "--address nowhere"),
        (("--layout", "split"), "--layout split"),
        (("--force",), "--force"),
        (("--resume", "no/such/study", "--trials", "64"), "no/such/study"),
        (("--resume", "no/such/study", "--folds", "5"), "--folds"),
        (("--resume", "no/such/study", "--seed", "0"), "--seed"),  # given, if only by its default
        (("--resume", "no/such/study", "--skip-bad"), "--skip-bad"),
        (("--resume", "no/such/study", "--space", "residual_placement"), "--space residual_placement"),
        (("--resume", "no/such/study", "--data", "synthetic"), "--data synthetic"),
        (("--resume", "no/such/study", "--repeats", "1"), "--repeats 1"),
        (("--resume", "no/such/study", "--name", "other"), "--name"),
        (("--resume", "no/such/study", "--dry-run"), "--dry-run"),
    ],
)
def test_wrong_argument(fails, arguments, named):
    assert named in fails(*arguments)


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_existing_study_folder(fails, folder, tmp_path, dry_run):
    (tmp_path / "results" / "mine").mkdir(parents=True)
    assert "mine" in fails("--data", folder, "--name", "mine", *dry_run)


@pytest.mark.parametrize(("counts", "named"), [({"only": 4}, "only"), ({"a": 1, "b": 9}, "two")])
def test_too_few_classes_or_images(fails, make_folder, counts, named):
    assert named in fails("--data", make_folder(**counts))


def test_unreadable_folder(fails, folder, monkeypatch):
    real = os.scandir

    def refuse(path="."):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert str(folder) in fails("--data", folder)


def test_missing_group(fails, folder):
    assert "patient" in fails("--data", folder, "--groups", "patient")


@pytest.fixture
def joined(cluster):
    """Options that join a running Ray, which starts sooner than one of a study's own."""
    return "--address", cluster.address


@pytest.mark.ray
def test_damaged_image_is_named(fails, joined, folder):
    bad = folder / "a" / "bad.png"
    bad.write_text("not an image")
    line = fails("--data", folder, "--profile", "quick", "--folds", 2, *joined)
    assert str(bad) in line
    assert "--skip-bad" in line


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_more_folds_than_images(fails, folder, dry_run):
    assert "99 folds" in fails("--data", folder, "--profile", "quick", "--folds", 99, *dry_run)


@pytest.mark.ray
def test_a_dry_run_checks_the_folds_of_the_search(fails, joined, folder):
    line = fails("--data", folder, "--profile", "quick", "--folds", 2, "--search-folds", 50, "--dry-run", *joined)
    assert "50 folds" in line


def test_data_that_share_no_class(fails, folder, tmp_path):
    other = tmp_path / "other"
    for name in ("1", "2"):
        (other / name).mkdir(parents=True)
        for image in (folder / "a").iterdir():
            (other / name / image.name).write_bytes(image.read_bytes())
    assert "--class-names 1=" in fails("--data", folder, "--transfer-data", other, "--folds", 2)


def test_no_cluster_at_the_address(folder, capsys):
    arguments = ["--data", str(folder), "--profile", "quick", "--folds", "2", "--address", "127.0.0.1:1"]
    assert exit_code(run.app, arguments) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.ray
def test_a_dry_run_prints_the_plan_and_its_cost(folder, joined, capsys, tmp_path):
    arguments = [
        *(
            "--data",
            str(folder),
            "--folds",
            "3",
            "--profile",
            "quick",
            "--dry-run",
            "--output",
            str(tmp_path / "results"),
            *joined,
        )
    ]
    assert exit_code(run.app, arguments) == 0
    printed = capsys.readouterr().out
    for text in ("12 images (a 6, b 6)", "MB", "MACs", "1+2+3", "paper_plain"):
        assert text in printed
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("app", [show.app, predict_app], ids=["show", "predict"])
def test_folder_without_a_study(fails, app, tmp_path):
    images = [tmp_path / "x.png"] if app is predict_app else []
    assert str(tmp_path) in fails(tmp_path, *images, app=app)


def test_damaged_table(fails, tmp_path):
    (tmp_path / "study.json").write_bytes((REFERENCE_STUDY / "study.json").read_bytes())
    (tmp_path / "trials.parquet").write_bytes(b"PAR1 cut off")
    assert "trials.parquet" in fails(tmp_path, app=show.app)
