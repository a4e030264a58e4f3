"""A study as Python sees it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from addresses import in_memory
from PIL import Image
from tiny_study import table
from written_study import CLASSES, KINDS, write_study

import search
from search.analysis.verdict import verdict
from search.common.errors import InputError
from search.records.results import read_results
from search.records.schema import Phase

TABLES = ("trials", "epochs", "folds", "predictions", "comparison", "effects")
PROBABILITIES = [f"probability_{name}" for name in CLASSES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("api") / "study", n_trials=16, n_images=300)


@pytest.fixture(scope="module")
def study(folder):
    return search.open(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three images of different sizes, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (40, 30 + number, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_the_folder(study, folder, name):
    pd.testing.assert_frame_equal(getattr(study, name), table(folder, name), check_dtype=False)


def test_transfer_and_untouched_share_a_table(study, folder):
    whole = table(folder, "transfer")
    assert set(study.transfer["phase"]) == {Phase.TRANSFER}
    assert set(study.untouched["phase"]) == {Phase.UNTOUCHED}
    assert len(study.transfer) == (whole["phase"] == Phase.TRANSFER).sum() > 0


def test_the_leaderboard_has_every_level_once_and_the_best_first(study):
    rows = study.leaderboard()
    levels = rows[rows["difference_from_best"].notna()]
    assert sorted(levels["level"]) == sorted(study.results.description.levels)
    assert rows["level"].is_unique
    assert levels.index.max() == len(levels) - 1  # then the paper's networks
    assert levels["estimate"].is_monotonic_decreasing
    assert levels["difference_from_best"].iloc[0] == 0
    assert (levels["estimate_low"] <= levels["estimate_high"]).all()


def test_the_leaderboards_differences_are_the_verdicts(study):
    rows, found = study.leaderboard().set_index("level"), study.verdict
    pairs = [finding for finding in found.main if finding.level is not None]
    assert {finding.level for finding in pairs} == set(rows.index[rows["difference"].notna()])
    for finding in pairs:
        row = rows.loc[finding.level]
        assert (row["difference"], row["difference_low"], row["difference_high"]) == (
            finding.estimate,
            finding.low,
            finding.high,
        )
        assert row["outcome"] == finding.outcome
    assert list(rows.index[rows["recommended"]]) == [found.recommendation.level]
    assert rows["ruled_out_by"].dropna().to_dict() == dict(found.recommendation.beaten)


@pytest.mark.parametrize("kind", ["own", "reference", "control", "few", "one level", "plain"])
def test_every_kind_of_study_has_a_leaderboard(tmp_path, kind):
    folder = write_study(tmp_path / "study", stop=("transfer", 0), **{"n_trials": 16, **KINDS[kind]})
    study = search.open(folder)
    rows = study.leaderboard().set_index("level")
    assert set(study.results.description.levels) <= set(rows.index)
    assert rows["estimate"].between(0, 1).all()
    assert verdict(read_results(folder)).headline in repr(study)
    assert rows.index[0] in study._repr_html_()


def test_what_a_notebook_shows_is_escaped_and_brings_no_colours(tmp_path):
    odd = ("none", "<script>x", "</table>")
    study = search.open(write_study(tmp_path / "<b>", n_trials=6, n_images=200, levels=odd, stop=("test", 0)))
    shown = study._repr_html_()
    assert "&lt;script&gt;x" in shown
    assert shown.count("</table>") == 1
    assert "<script" not in shown
    assert "<b></code>" not in shown
    assert "color" not in shown.replace("color-scheme", "")
    assert "background" not in shown


def test_a_study_that_has_only_searched_says_so(tmp_path):
    study = search.open(write_study(tmp_path / "study", n_trials=8, stop=("search", 5)))
    assert study.winner is study.verdict is study.recommendation is None
    assert len(study.leaderboard()) == 0
    assert len(study.trials) == 5
    assert "5 trials" in repr(study)
    assert "\n" not in repr(study)
    assert "5 trials" in study._repr_html_()
    with pytest.raises(InputError, match="model"):
        study.predict(np.zeros((1, 8, 8, 3), np.uint8))


def test_paths_pillows_images_and_arrays_are_classified_alike(study, pictures):
    files = sorted(pictures.glob("*.png"))
    of_folder = study.predict(pictures)
    assert list(of_folder["image"]) == [str(file) for file in files]
    assert list(of_folder.columns) == ["image", "predicted", "unlike_training", *PROBABILITIES]
    assert np.allclose(of_folder[PROBABILITIES].sum(axis=1), 1)
    most = of_folder[PROBABILITIES].to_numpy().argmax(axis=1)
    assert list(of_folder["predicted"]) == [CLASSES[k] for k in most]
    opened = [Image.open(file) for file in files]
    for given in ([str(file) for file in files], opened, [np.asarray(image) for image in opened]):
        same = study.predict(given)
        assert (same[PROBABILITIES].to_numpy() == of_folder[PROBABILITIES].to_numpy()).all()
    assert list(study.predict(opened)["image"]) == [0, 1, 2]
    one = study.predict(files[1])[PROBABILITIES].to_numpy()
    assert np.allclose(one, of_folder[PROBABILITIES].iloc[[1]])


def test_the_model_is_the_network_that_predicts(study, pictures):
    trained, model = study.trained, study.model
    assert not model.training
    side = trained.config.input_px
    pixels = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    mean, std = (torch.tensor(values) for values in (trained.normalisation.mean, trained.normalisation.std))
    with torch.no_grad():
        logits = model(((torch.from_numpy(trained.prepare(pixels)) - mean) / std).permute(0, 3, 1, 2))
    assert torch.allclose(torch.softmax(logits, 1).double(), torch.from_numpy(trained.predict(pixels)), atol=0.02)


@pytest.mark.parametrize(
    ("images", "culprit"),
    [
        ("nowhere.png", "nowhere.png"),
        ([], "no images"),
        ([np.zeros((8, 8, 3))], "image 0.*float64"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)], r"image 1.*\(8, 8\)"),
        ([7], "image 0.*int"),
        (Image.new("RGB", (8, 8)), "one Image"),
    ],
)
def test_what_is_no_image_is_named(study, images, culprit):
    with pytest.raises(InputError, match=culprit):
        study.predict(images)


def test_the_report_is_a_page_in_the_folder(tmp_path):
    study = search.open(write_study(tmp_path / "study", n_trials=6, stop=("search", 2)))
    page = study.report()
    assert page == tmp_path / "study" / "report.html"
    assert study.results.description.question in page.read_text(encoding="utf-8")


def test_no_study_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        search.open(tmp_path)


def test_a_study_is_shown_without_torch_and_ray(folder):
    code = "import search, sys; search.open(sys.argv[1])._repr_html_(); print({'ray', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_a_study_at_an_address_opens_as_its_folder_does(folder, study, tmp_path, monkeypatch):
    copied = search.open(in_memory(folder, monkeypatch, tmp_path))
    assert copied.path != study.path
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(copied, name), getattr(study, name))
