import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from wbcmodels.traditional.classify import TwoStepClassifier
from wbcmodels.traditional.config import Traditional
from wbcmodels.traditional.features import lobes
from wbcmodels.traditional.overlay import outlined
from wbcmodels.traditional.segment import segment

GLASS, RED_CELL = (255, 230, 205), (210, 170, 150)
CYTOPLASM, NUCLEUS = (205, 155, 190), (80, 40, 130)
SEGMENTATIONS = [(space, method) for space in ("red_saturation", "hed", "lab") for method in ("otsu", "kmeans")]
CLASSIFIERS = ("svm", "random_forest", "gradient_boosting")


def drawn(side, *discs, ground=GLASS):
    """Discs (row, column, radius, colour) in shares of the side, later ones on top."""
    image = np.full((side, side, 3), ground, np.uint8)
    rows, columns = (np.indices((side, side)) + 0.5) / side
    for row, column, radius, colour in discs:
        image[np.hypot(rows - row, columns - column) < radius] = colour
    return image


def cell(side, *nuclei):
    return drawn(side, (0.1, 0.15, 0.12, RED_CELL), (0.5, 0.5, 0.3, CYTOPLASM), *nuclei)


def round_cell(side):
    return cell(side, (0.5, 0.47, 0.2, NUCLEUS))


def lobed_cell(side):
    return cell(side, (0.5, 0.35, 0.1, NUCLEUS), (0.5, 0.65, 0.1, NUCLEUS))


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def speckled(image, seed):
    grains = np.random.default_rng(seed).normal(0, 6, image.shape)
    return (image + grains).clip(0, 255).astype(np.uint8)


def odd_images(side):
    dot = drawn(side)
    dot[side // 2, side // 2] = NUCLEUS
    return {
        "black": drawn(side, ground=(0, 0, 0)),
        "white": drawn(side, ground=(255, 255, 255)),
        "purple": drawn(side, ground=NUCLEUS),
        "noise": noise(side),
        "dot": dot,
        "half": drawn(side, (0.5, 1.5, 1.0, NUCLEUS)),
        "padded": drawn(side, (0.5, 0.5, 0.3, CYTOPLASM), (0.5, 0.5, 0.2, NUCLEUS), (0, 0, 0.3, (0, 0, 0))),
        "no red cells": drawn(side, (0.5, 0.5, 0.2, NUCLEUS)),
        "nothing but red cells": drawn(side, (0.4, 0.4, 0.2, RED_CELL)),
    }


def points(counts, seed=0):
    """Features around one corner of a cube per class, and labels."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = 3.0 * (np.arange(len(counts))[:, None] >> np.arange(3) & 1)
    return centres[labels] + generator.normal(0, 0.5, (len(labels), 3)), labels


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, "other") for field in ("stain_space", "segmentation", "feature_set", "classifier")),
        *(("input_px", value) for value in (0, 15, 64.0)),
        *(("n_groups", value) for value in (0, 2.0)),
        *(("n_estimators", value) for value in (0, -1, 10.0)),
        ("balanced", "yes"),
        *(("C", value) for value in (0.0, -1.0, math.inf, math.nan)),
    ],
)
def test_a_wrong_value_is_refused_by_field_and_value(field, value):
    with pytest.raises(ValueError, match=field) as caught:
        Traditional(**{field: value})
    assert repr(value) in str(caught.value)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Traditional().C = 2.0  # type: ignore[misc]


def test_the_config_imports_neither_scikit_image_nor_scikit_learn():
    code = "import sys, wbcmodels.traditional.config as config; config.Traditional(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"skimage", "sklearn", "scipy"} & set(done.stdout.split())


@pytest.mark.parametrize("side", [16, 28, 97])
@pytest.mark.parametrize(("space", "method"), SEGMENTATIONS)
def test_masks_are_disjoint_whatever_the_image(space, method, side):
    for name, image in odd_images(side).items():
        masks = segment(image, stain_space=space, segmentation=method)
        for mask in (masks.nucleus, masks.cytoplasm):
            assert (mask.shape, mask.dtype) == ((side, side), bool), name
        assert not (masks.nucleus & masks.cytoplasm).any(), name
        if name in ("black", "white", "purple"):
            assert not masks.cell.any(), name


@pytest.mark.parametrize("side", [64, 96])
@pytest.mark.parametrize(("space", "method"), SEGMENTATIONS)
def test_nucleus_and_cytoplasm_are_where_they_are_drawn(space, method, side):
    for image in (round_cell(side), lobed_cell(side)):
        masks = segment(image, stain_space=space, segmentation=method)
        nucleus, cytoplasm = (image == NUCLEUS).all(axis=-1), (image == CYTOPLASM).all(axis=-1)
        assert overlap(masks.nucleus, nucleus) > 0.8
        assert overlap(masks.cell, nucleus | cytoplasm) > 0.85


def overlap(found, drawn_mask):
    return (found & drawn_mask).sum() / (found | drawn_mask).sum()


def test_a_touching_neighbour_does_not_belong_to_the_cell():
    image = drawn(
        64,
        *((0.5, column, 0.22, CYTOPLASM) for column in (0.45, 0.87)),
        *((0.5, column, 0.12, NUCLEUS) for column in (0.45, 0.87)),
    )
    masks = segment(image, stain_space="red_saturation", segmentation="otsu")
    assert masks.nucleus[32, 28]
    assert not masks.cell[:, 48:].any()


@pytest.mark.parametrize("side", [28, 64, 96])
def test_lobes_are_counted(side):
    for image, n_lobes in ((round_cell(side), 1), (lobed_cell(side), 2)):
        assert lobes((image == NUCLEUS).all(axis=-1)) == n_lobes
        config = Traditional(input_px=side, feature_set="shape")
        assert dict(zip(config.feature_names(), config.features(image[None])[0], strict=True))["lobes"] == n_lobes
    joined = cell(side, (0.5, 0.38, 0.14, NUCLEUS), (0.5, 0.62, 0.14, NUCLEUS))
    assert lobes((joined == NUCLEUS).all(axis=-1)) == 2
    assert lobes(np.zeros((side, side), bool)) == 0


@pytest.mark.parametrize("side", [16, 28, 64])
@pytest.mark.parametrize("segmentation", ["otsu", "kmeans"])
def test_features_are_finite_and_named_whatever_the_image(segmentation, side):
    config = Traditional(input_px=side, segmentation=segmentation)
    images = np.stack([*odd_images(side).values(), round_cell(side), lobed_cell(side)])
    features = config.features(images)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.shape == (len(images), len(config.feature_names()))
    assert len(set(config.feature_names())) == len(config.feature_names())


def test_larger_feature_sets_begin_with_the_smaller_ones():
    images = np.stack([round_cell(40), lobed_cell(40)])
    small, medium, large = (
        Traditional(input_px=40, feature_set=kinds) for kinds in ("shape", "shape+colour", "shape+colour+texture")
    )
    for inner, outer in ((small, medium), (medium, large)):
        n_inner = len(inner.feature_names())
        assert n_inner < len(outer.feature_names())
        assert outer.feature_names()[:n_inner] == inner.feature_names()
        np.testing.assert_array_equal(outer.features(images)[:, :n_inner], inner.features(images))


@pytest.mark.parametrize("segmentation", ["otsu", "kmeans"])
def test_features_do_not_change_with_quarter_turns(segmentation):
    config = Traditional(segmentation=segmentation)
    for image in (speckled(round_cell(64), 0), speckled(lobed_cell(64), 1)):
        turned = np.stack([np.rot90(image, turns) for turns in range(4)])
        features = config.features(turned)
        np.testing.assert_allclose(features, features[:1].repeat(4, axis=0), rtol=1e-3, atol=2e-3)


def test_features_do_not_depend_on_the_other_images():
    config = Traditional(input_px=32)
    images = np.stack([round_cell(32), noise(32), lobed_cell(32)])
    np.testing.assert_array_equal(config.features(images)[2:], config.features(images[2:]))
    assert config.features(images[:0]).shape == (0, len(config.feature_names()))


@pytest.mark.parametrize("images", [np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 64, 64, 3), np.float32)])
def test_images_of_another_size_or_type_are_refused(images):
    with pytest.raises(ValueError, match="64, 64, 3"):
        Traditional().features(images)


@pytest.mark.parametrize("n_groups", [1, 2, 3, 9])
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_probabilities_sum_to_one_and_repeat_with_the_seed(classifier, n_groups):
    config = Traditional(classifier=classifier, n_groups=n_groups, n_estimators=20)
    features, labels = points((40, 20, 15, 30))
    first, again = (config.estimator(7).fit(features, labels) for _ in range(2))
    probabilities = first.predict_proba(features)
    assert probabilities.shape == (len(labels), 4)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities, again.predict_proba(features))
    assert (first.predict(features) == labels).mean() > 0.9


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("counts", [(20, 0, 20, 1), (1, 1, 1, 30), (0, 0, 9, 9), (1, 1), (0, 8)])
def test_missing_and_rare_classes_are_no_obstacle(counts, classifier):
    features, labels = points(counts)
    estimator = Traditional(classifier=classifier, n_estimators=5).estimator(0).fit(features, labels)
    probabilities = estimator.predict_proba(features)
    assert estimator.classes_.tolist() == [label for label, count in enumerate(counts) if count]
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities.shape[1] == len(estimator.classes_)


def test_similar_classes_form_a_group():
    features, labels = points((20, 20, 20, 20))
    features[:, 0] += 20 * (labels >= 2)
    groups = Traditional().estimator(0).fit(features, labels).groups_
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_weightless_images_are_not_learned_from():
    features, labels = points((30, 30))
    wrong = np.concatenate([labels, 1 - labels])
    weights = np.repeat([1.0, 0.0], len(labels))
    estimator = Traditional(classifier="random_forest", n_estimators=20).estimator(0)
    estimator.fit(np.tile(features, (2, 1)), wrong, sample_weight=weights)
    assert (estimator.predict(features) == labels).all()


def test_balance_helps_the_rare_class():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 15])
    features = generator.normal(labels[:, None], 1, (len(labels), 2))
    shares = {}
    for balanced in (True, False):
        estimator = Traditional(balanced=balanced).estimator(0).fit(features, labels)
        assert isinstance(estimator, TwoStepClassifier)
        shares[balanced] = (estimator.predict(features) == 1).mean()
    assert shares[True] > shares[False]


def test_outlines_are_drawn_on_a_copy():
    image = round_cell(64)
    before = image.copy()
    masks = segment(image, stain_space="red_saturation", segmentation="otsu")
    overlay = outlined(image, masks)
    assert (overlay.shape, overlay.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(image, before)
    changed = (overlay != image).any(axis=-1)
    assert changed.any()
    assert not (changed & ~masks.cell).any()
    assert not changed[32, 30]
