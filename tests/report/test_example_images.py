"""Figures of the example images."""

import io

import numpy as np
import pytest
from PIL import Image

from search.common.errors import InputError
from search.records.results import read_results
from search.report.figures.example_images import (
    LARGEST_PX,
    MAPS_PER_STAGE,
    Example,
    draw_attention,
    draw_features,
    draw_mistakes,
    draw_segmentation,
    read_examples,
    read_pixels,
    telling_channels,
)


def example(label="basophil", predicted="basophil", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    return Example(
        image="cell.png", pixels=pixels, label=label, predicted=predicted, p_label=0.21, p_predicted=0.7
    )


CORRECT = [example(seed=seed) for seed in range(6)]
WRONG = [example(predicted="monocyte", seed=seed) for seed in range(7)]


def test_examples_are_joined_with_their_own_predictions(study):
    results = read_results(study)
    cells, predictions = results.of_winner("cells"), results.of_winner("predictions")
    examples = read_examples(cells, results.tables["predictions"].sample(frac=1, random_state=0))
    assert len(examples) == len(cells)
    for found, (_, cell) in zip(examples, cells.iterrows(), strict=True):
        (own,) = predictions[predictions["image"] == cell["image"]].to_dict("records")
        assert found.image == cell["image"]
        assert (found.label, found.predicted) == (own["label"], own["predicted"])
        assert found.p_label == own[f"probability_{own['label']}"]
        assert found.p_predicted == own[f"probability_{own['predicted']}"]
        np.testing.assert_array_equal(found.pixels, read_pixels(cell["png"]))
    assert read_examples(cells.iloc[:0], predictions) == read_examples(cells, predictions.iloc[:0]) == []


def test_channels_that_tell_the_images_apart_are_chosen():
    maps = np.zeros((4, 6, 3, 3), np.float32)
    maps[:, 1] = 9  # strong, and the same in all
    for channel, scale in ((4, 1.0), (0, 3.0), (5, 2.0)):
        maps[:, channel] = scale * np.arange(4)[:, None, None]
    assert telling_channels(maps) == [0, 5]
    assert len(telling_channels(maps[:1])) == MAPS_PER_STAGE


def test_the_sheet_shows_mistakes_and_how_many_there_are():
    figure = draw_mistakes(WRONG, 61)
    assert f"{len(WRONG)} most confident of 61" in figure.get_suptitle()
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == len(WRONG)
    np.testing.assert_array_equal(shown[0].images[0].get_array(), WRONG[0].pixels)
    assert shown[0].get_title() == "basophil 21\N{NO-BREAK SPACE}%\n→ monocyte 70\N{NO-BREAK SPACE}%"
    assert "all mistakes" in draw_mistakes(WRONG, len(WRONG)).get_suptitle()
    assert draw_mistakes([], 0) is None


def test_segmented_images_are_shown_for_each_classifier_and_named_where_there_are_several():
    images = [each.pixels for each in CORRECT]
    figure = draw_segmentation({"measured": images})
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == len(images)
    assert not any(axes.get_title() for axes in shown)
    both = draw_segmentation({"one": images, "another": images[:2]})
    assert [axes.get_title() for axes in both.axes if axes.images] == ["one"] * len(images) + ["another"] * 2
    assert draw_segmentation({}) is draw_segmentation({"measured": []}) is None


def test_figures_of_the_network_show_every_example():
    rng = np.random.default_rng(0)
    maps = {f"stage{stage}": rng.uniform(size=(6, 8, 5, 5)).astype(np.float32) for stage in (1, 2, 3)}
    features = draw_features(CORRECT, maps)
    assert sum(len(axes.images) for axes in features.axes) == len(CORRECT) * (1 + MAPS_PER_STAGE * len(maps))
    both = [*WRONG, *CORRECT]
    heat = rng.uniform(size=(len(both), 5, 5)).astype(np.float32)
    attention = draw_attention(both, heat)
    shown = [axes for axes in attention.axes if axes.get_title()]
    assert [axes.get_title() for axes in shown] == [example.title for example in (*CORRECT, *WRONG)]
    heats = [axes.images[1].get_array() for axes in attention.axes if len(axes.images) == 2]
    np.testing.assert_allclose(sorted(heat.sum() for heat in heats), sorted(heat.sum(axis=(1, 2))), rtol=1e-6)
    for figure in (features, attention):
        figure.savefig(io.BytesIO(), format="png")
    assert draw_features([], {}) is draw_attention([], heat[:0]) is None


def image_file(side=4, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"xx", None, image_file(100)[:60], image_file(LARGEST_PX + 1), image_file(kind="BMP")],
    ids=["no image", "null", "cut off", "too large", "another format"],
)
def test_a_row_without_a_readable_image_is_named(data):
    with pytest.raises(InputError, match=r"cells\.parquet"):
        read_pixels(data)
