from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks.shift import configuration, half_width, load, rows_of, summary
from benchmarks.shift_trainings import LEAST_IMAGES, Laboratory, Training, macro_recall, run
from search.common.errors import InputError
from search.space import StainStyle
from search.training.device import Device
from spaces.shift import SHIFTS

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_CLASSES = 12, 2
STYLE = StainStyle(mean=(0.3, 0.5, 0.2), std=(0.2, 0.3, 0.1))


def laboratory(name, seed, n_images=40):
    generator = np.random.default_rng(seed)
    labels = np.arange(n_images) % N_CLASSES
    pixels = generator.integers(0, 120, (n_images, SIDE, SIDE, 3), np.uint8)
    pixels[labels == 1] += 100
    return Laboratory(name=name, pixels=pixels, labels=labels)


def training(level="plain"):
    config = configuration(level, "wbcsnet2", "balanced", epochs=2, side_px=SIDE, styles=())
    return Training(
        setting=level,
        seed=0,
        configuration=replace(config, model=replace(config.model, width=0.125)),
        train=("a", "b"),
        score=("c", "d"),
    )


def rows(others, level="plain"):
    labs = {"a": laboratory("a", 0), "b": laboratory("b", 1), **others}
    return pd.DataFrame(run(training(level), labs, N_CLASSES, CPU))


def test_every_laboratory_is_scored_untouched_and_adapted():
    found = rows({"c": laboratory("c", 2), "d": laboratory("d", 3, n_images=30)})
    assert set(zip(found["tested_on"], found["adapted"], strict=True)) == {
        (name, adapted) for name in "cd" for adapted in (False, True)
    }
    assert found.groupby("tested_on")["n_images"].first().to_dict() == {"c": 40, "d": 30}
    assert found["accuracy"].between(0, 1).all()


@pytest.mark.parametrize("level", ["plain", "all"])
def test_what_is_tested_on_changes_nothing_elsewhere(level):
    c, d = laboratory("c", 2), laboratory("d", 3)
    others = replace(d, pixels=255 - d.pixels, labels=1 - d.labels)
    of_c = [
        rows({"c": c, "d": one}, level).query("tested_on == 'c'")[["accuracy", "macro_recall", "recall_0"]]
        for one in (d, others)
    ]
    pd.testing.assert_frame_equal(*of_c)


@pytest.mark.parametrize("level", SHIFTS)
def test_styles_are_given_to_random_stains_only(level):
    one, other = (configuration(level, "wbcsnet2", "none", 2, SIDE, styles) for styles in ((), (STYLE,)))
    assert (one != other) == (SHIFTS[level].augmentation.stain > 0)
    assert other.training.augmentation.styles in ((), (STYLE,))


@pytest.mark.parametrize("level", SHIFTS)
def test_another_network_is_trained_on_the_same_images(level):
    one, other = (configuration(level, name, "none", 2, 32, ()) for name in ("wbcsnet2", "efficientnet_lite0"))
    assert one.model != other.model
    assert (one.preparation, one.training.augmentation) == (other.preparation, other.training.augmentation)


def test_a_rare_class_has_no_part_in_the_macro_recall():
    labels = np.repeat([0, 1, 2], [LEAST_IMAGES, 2 * LEAST_IMAGES, LEAST_IMAGES - 1])
    predicted = np.where(labels == 1, 0, labels)
    predicted[labels == 2] = 0
    assert macro_recall(labels, predicted) == 0.5
    assert np.isnan(macro_recall(labels[:3], predicted[:3]))


def recorded(macro_recalls, on_test):
    """Rows of two seeds: setting -> macro recall on what is chosen by, and on the test."""
    return pd.DataFrame(
        [
            {"setting": setting, "adapted": False, "seed": seed, "tested_on": name, "accuracy": value / 2}
            | {"macro_recall": value}
            for setting in macro_recalls
            for seed in (0, 1)
            for name, value in (
                ("b", macro_recalls[setting]),
                ("c", macro_recalls[setting]),
                ("d", on_test[setting]),
            )
        ]
    )


def test_the_choice_does_not_look_at_the_test():
    by = {"one": 0.5, "two": 0.7, "three": 0.6}
    for on_test in ({"one": 1.0, "two": 0.0, "three": 0.5}, {"one": 0.0, "two": 0.0, "three": 1.0}):
        found = summary(recorded(by, on_test), ["b", "c"])
        assert [setting for setting, _ in found.index] == ["two", "three", "one"]
        assert found["chosen_by", "macro_recall", "mean"].tolist() == pytest.approx([0.7, 0.6, 0.5])
        assert found["d", "accuracy", "mean"].tolist() == pytest.approx(
            [on_test[s] / 2 for s in ("two", "three", "one")]
        )


def test_an_interval_is_students():
    assert half_width(np.array([1.0, 3.0])) == pytest.approx(12.706, rel=1e-3)  # two values, SD sqrt(2)
    assert half_width(np.array([2.0, 2.0, 2.0])) == 0
    assert np.isnan(half_width(np.array([1.0])))


def test_a_training_is_found_again_by_everything_that_decides_it():
    common = {"train": "a", "epochs": 2}
    frame = pd.DataFrame([{**common, "setting": "plain", "seed": 0}, {**common, "setting": "all", "seed": 0}])
    assert len(rows_of(frame, common, "plain", 0)) == 1
    assert rows_of(frame, common, "plain", 1).empty
    assert rows_of(frame, {**common, "epochs": 3}, "plain", 0).empty
    assert rows_of(pd.DataFrame(), common, "plain", 0).empty


def folder(path, classes):
    for shade, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8), (60 + number, 90, 120 + shade)).save(path / name / f"{number}.png")
    return str(path)


def test_classes_agree_by_name(tmp_path):
    a = folder(tmp_path / "a", ("One", "Two"))
    b = folder(tmp_path / "b", ("one", "other", "two"))
    classes, found = load({"train": [a], "choose": [], "test": [b]}, None, 8)
    assert classes == ("one", "two")
    assert found["b"].labels.tolist() == [0, 0, 1, 1]
    assert len(found["b"].pixels) == 4


@pytest.mark.parametrize(("classes", "name"), [(("three", "four"), "b"), (("one", "two"), "a")])
def test_laboratories_that_do_not_fit_are_refused(tmp_path, classes, name):
    a = folder(tmp_path / "a", ("one", "two"))
    other = folder(tmp_path / "x" / name, classes)
    with pytest.raises(InputError, match=name):
        load({"train": [a], "choose": [], "test": [other]}, None, 8)
