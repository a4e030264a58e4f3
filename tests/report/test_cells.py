"""The cells that a study keeps to be shown, and the figures and maps that are made of them."""

import io
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from search.common.errors import InputError
from search.data.decode import resize_square
from search.data.sources import open_source
from search.records.ledger import read_table
from search.records.schema import KEY_COLUMNS, Key
from search.report.figures.cells import (
    LARGEST_PX,
    MAPS_PER_STAGE,
    draw_attention,
    draw_features,
    draw_mistakes,
    pixels,
    telling_channels,
    with_predictions,
)
from search.study.examples import MOST_MISTAKES, MOST_PX, MOST_TEST_MISTAKES, choose_examples, keep_examples
from search.training.batches import normalise
from search.training.featuremaps import class_activation, feature_maps
from search.training.trainedmodel import TrainedModel
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig
from wbcmodels.family import build

CLASSES = ("basophil", "lymphocyte", "monocyte")
COMPARE = Key(phase="compare", level="1", settings="tuned", data="cells", repeat=0, fold=0)
TEST = Key(phase="test", level="1", settings="tuned", data="cells")


def predict(ledger, key, n_images, seed=0):
    """Enter predictions of images of all classes, some of them wrong."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(len(CLASSES)), n_images)
    labels = [CLASSES[k % len(CLASSES)] for k in range(n_images)]
    columns = {
        "image": [f"{label}/{k:03d}.png" for k, label in enumerate(labels)],
        "label": labels,
        "predicted": [CLASSES[k] for k in probabilities.argmax(1)],
        **{f"probability_{name}": probabilities[:, k].tolist() for k, name in enumerate(CLASSES)},
    }
    ledger.add("predictions", asdict(key), columns)


def predicted(ledger):
    return ledger.read("predictions").to_pandas()


@pytest.fixture
def ledger(open_ledger):
    """Predictions of the winner 1, and of others that must not be taken for it."""
    ledger = open_ledger()
    for key in (COMPARE, TEST):
        predict(ledger, key, 90)
    for other in (
        {"repeat": 1},
        {"settings": "equal"},
        {"level": "none"},
        {"level": "paper_plain", "settings": None},
    ):
        predict(ledger, Key(**{**asdict(COMPARE), **other}), 90, seed=5)
    return ledger


class Study:
    """What keeping cells needs of a study."""

    def __init__(self, ledger, photograph):
        self.ledger, self.photograph = ledger, photograph
        self.notes = []
        self.reporter = self

    def note(self, text):
        self.notes.append(text)


def photograph(name):
    """Noise of one colour a name, higher than wide."""
    rng = np.random.default_rng([len(name), *name.encode()])
    return rng.integers(0, 255, (90, 70, 3), dtype=np.uint8)


def kept(ledger, tmp_path, photograph=photograph):
    study = Study(ledger, photograph)
    keep_examples(study, "1")
    ledger.flush()
    return read_table(tmp_path, "cells"), study


def test_chosen_are_mistakes_and_an_example_of_each_class_of_the_winner(ledger):
    rows = predicted(ledger)
    chosen = rows.loc[choose_examples(rows, "1")]
    assert not chosen.duplicated([*KEY_COLUMNS, "image"]).any()
    assert set(chosen["level"]) == {"1"}
    assert set(chosen["settings"]) == {"tuned"}
    compared, tested = (chosen[chosen["phase"] == phase] for phase in ("compare", "test"))
    assert set(compared["repeat"]) == {0}
    assert (compared["label"] != compared["predicted"]).all()
    assert len(compared) == MOST_MISTAKES
    right = tested["label"] == tested["predicted"]
    assert sorted(tested.loc[right, "label"]) == sorted(CLASSES)
    assert (~right).sum() == MOST_TEST_MISTAKES


def test_chosen_are_the_surest(ledger):
    rows = predicted(ledger)
    sureness = rows[[f"probability_{name}" for name in CLASSES]].max(axis=1)
    chosen = choose_examples(rows, "1")
    right = rows["label"] == rows["predicted"]
    own = (rows["level"] == "1") & (rows["settings"] == "tuned")
    compared = own & (rows["phase"] == "compare") & (rows["repeat"] == 0) & ~right
    left_out = set(rows.index[compared]) - set(chosen)
    assert left_out
    assert sureness[list(left_out)].max() <= sureness[[n for n in chosen if compared[n]]].min()
    for name in CLASSES:
        examples = own & (rows["phase"] == "test") & right & (rows["label"] == name)
        assert sureness[examples].idxmax() in chosen


def test_no_predictions_no_cells(open_ledger, tmp_path):
    cells, _ = kept(open_ledger(), tmp_path)
    assert cells.empty
    assert not (tmp_path / "cells.parquet").exists()


def test_images_are_kept_as_they_are(ledger, tmp_path):
    cells, study = kept(ledger, tmp_path)
    assert len(cells) == MOST_MISTAKES + MOST_TEST_MISTAKES + len(CLASSES)
    assert study.notes == []
    for image, png in zip(cells["image"], cells["png"], strict=True):
        np.testing.assert_array_equal(pixels(png), photograph(image)[10:80])


def test_large_images_are_kept_small(ledger, tmp_path):
    cells, _ = kept(ledger, tmp_path, lambda name: np.full((600, 400, 3), 7, np.uint8))
    assert {pixels(png).shape for png in cells["png"]} == {(MOST_PX, MOST_PX, 3)}


def test_what_was_kept_is_read_back_from_the_journal(ledger, open_ledger, tmp_path):
    before, _ = kept(ledger, tmp_path)
    assert open_ledger().read("cells").equals(ledger.read("cells"))
    assert ledger.read("cells").schema.field("png").type == pa.binary()
    assert before["png"].map(type).eq(bytes).all()


def test_an_image_that_cannot_be_read_any_more_is_left_out_and_named(ledger, tmp_path):
    def gone(name):
        if name.startswith("basophil"):
            raise InputError(f"{name}: gone")
        return photograph(name)

    cells, study = kept(ledger, tmp_path, gone)
    assert len(cells)
    assert not cells["image"].str.startswith("basophil").any()
    assert any("basophil" in note for note in study.notes)


def test_cells_of_a_new_winner_replace_those_of_the_old(ledger, tmp_path):
    kept(ledger, tmp_path)
    keep_examples(Study(ledger, photograph), "none")
    assert set(ledger.read("cells")["level"].to_pylist()) == {"none"}


@pytest.mark.parametrize("microscope", ["first", "second"])
def test_a_drawn_photograph_is_what_was_decoded(microscope):
    source = open_source("synthetic", microscope=microscope, seed=4)
    decoded = source.decode([24])
    for index in (0, 17, len(decoded.names) - 1):
        drawn = source.photograph(decoded.names[index])
        np.testing.assert_array_equal(resize_square(drawn, 24), decoded.pixels[24][index])


def test_a_photograph_of_a_folder_is_what_was_decoded(cells):
    source = open_source(str(cells), microscope="first", seed=0)
    decoded = source.decode([12])
    np.testing.assert_array_equal(resize_square(source.photograph(decoded.names[3]), 12), decoded.pixels[12][3])
    with pytest.raises(InputError, match="nowhere"):
        source.photograph("nowhere.png")


def test_predictions_join_their_cell_alone(ledger, tmp_path):
    cells, _ = kept(ledger, tmp_path)
    rows = predicted(ledger)
    joined = with_predictions(cells, rows)
    assert joined["image"].tolist() == cells["image"].tolist()
    for _, cell in joined.iterrows():
        own = rows[(rows["phase"] == cell["phase"]) & (rows["image"] == cell["image"]) & (rows["level"] == "1")]
        own = own[(own["settings"] == "tuned") & (own["repeat"].fillna(0) == 0)].iloc[0]
        assert cell["label"] == own["label"]
        assert cell["p_label"] == own[f"probability_{own['label']}"]
        assert cell["p_predicted"] == own[f"probability_{own['predicted']}"]
    assert with_predictions(cells.iloc[:0], rows).empty


def trained(placement="1+3", classes=CLASSES):
    config = ModelConfig(
        placement=placement, norm="batch", dropout=0.3, input_px=20, width=0.125, n_classes=len(classes)
    )
    network = build(config, seed=1)
    from safetensors.torch import save

    normalisation = Normalisation(mean=(120.0, 100.0, 140.0), std=(50.0, 40.0, 60.0))
    return TrainedModel(
        config=config, normalisation=normalisation, classes=classes, weights=save(network.state_dict())
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (5, 20, 20, 3), dtype=np.uint8)


def test_feature_maps_are_those_of_the_network_in_evaluation(images):
    model = trained()
    network = model.build().eval()
    maps = feature_maps(model, images)
    assert [*maps] == ["stage1", "stage2", "stage3"]
    x = normalise(torch.from_numpy(images), model.normalisation)
    for stage in maps:
        x = getattr(network, stage)(x)
        np.testing.assert_allclose(maps[stage], x.detach().numpy(), rtol=1e-5, atol=1e-6)
    alone = feature_maps(model, images[:1])
    np.testing.assert_allclose(alone["stage3"], maps["stage3"][:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("placement", ["none", "3"])
def test_activation_is_grad_cam_by_its_formula(images, placement):
    model = trained(placement)
    network = model.build().eval()
    found = class_activation(model, images)
    assert found.min() >= 0
    assert found.max() == pytest.approx(1)
    for image, heat in zip(images, found, strict=True):
        maps = network.stage_outputs(normalise(torch.from_numpy(image[None]), model.normalisation))["stage3"]
        maps = maps.detach().requires_grad_()
        logits = network.fc2(torch.relu(network.fc1(maps.permute(0, 2, 3, 1).flatten(1))))[0]
        (slope,) = torch.autograd.grad(logits.max(), maps)
        wanted = torch.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1))[0].detach().numpy()
        wanted = wanted / (wanted.max() or 1)
        np.testing.assert_allclose(heat, wanted, rtol=1e-3, atol=1e-4)


def test_channels_that_tell_the_images_apart_are_chosen():
    maps = np.zeros((4, 6, 3, 3), np.float32)
    maps[:, 1] = 9  # strong, and the same in all
    for channel, scale in ((4, 1.0), (0, 3.0), (5, 2.0)):
        maps[:, channel] = scale * np.arange(4)[:, None, None]
    assert telling_channels(maps) == [0, 4, 5]
    assert len(telling_channels(maps[:1])) == MAPS_PER_STAGE


def test_the_sheet_of_mistakes_shows_them_and_says_how_many_there_are(ledger, tmp_path):
    cells = with_predictions(kept(ledger, tmp_path)[0], predicted(ledger))
    figure = draw_mistakes(cells, 61)
    assert f"the {MOST_MISTAKES} surest of 61 mistakes" in figure.get_suptitle()
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == MOST_MISTAKES
    first = cells[cells["phase"] == "compare"].iloc[0]
    np.testing.assert_array_equal(shown[0].images[0].get_array(), pixels(first["png"]))
    assert first["label"] in shown[0].get_title()
    assert f"→ {first['predicted']} {100 * first['p_predicted']:.0f} %" in shown[0].get_title()
    assert "all mistakes" in draw_mistakes(cells, MOST_MISTAKES).get_suptitle()
    assert draw_mistakes(cells[cells["phase"] == "test"], 0) is None


def test_figures_of_the_network_show_every_cell(ledger, tmp_path, images):
    cells = with_predictions(kept(ledger, tmp_path)[0], predicted(ledger))
    tested = cells[cells["phase"] == "test"]
    right = tested[tested["label"] == tested["predicted"]]
    model = trained()
    n_maps = MAPS_PER_STAGE * 3
    features = draw_features(right, feature_maps(model, images[: len(right)]))
    assert sum(len(axes.images) for axes in features.axes) == len(right) * (1 + n_maps)
    heat = np.random.default_rng(0).uniform(size=(len(tested), 5, 5)).astype(np.float32)
    attention = draw_attention(tested, heat)
    assert sum(len(axes.images) for axes in attention.axes) == 3 * len(tested)
    titles = [axes.get_title() for axes in attention.axes if axes.get_title()]
    assert len(titles) == len(tested)
    assert sum("→" in title for title in titles) == MOST_TEST_MISTAKES
    for figure in (features, attention):
        figure.savefig(io.BytesIO(), format="png")
    assert draw_features(right.iloc[:0], {}) is None
    assert draw_attention(tested.iloc[:0], heat[:0]) is None


def image_file(side=4, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"xx", None, image_file(100)[:60], image_file(LARGEST_PX + 1), image_file(kind="BMP")],
    ids=["no image", "null", "cut off", "too large", "another kind"],
)
def test_an_image_that_is_no_png_of_a_cell_is_named(data):
    with pytest.raises(InputError, match=r"cells\.parquet"):
        pixels(data)
