import numpy as np
import pytest

from search.audit.borders import border_score, padding_p
from search.audit.measures import RING_SIDE_PX, border_ring

N_IMAGES = 120


def rings(rng, n_images=N_IMAGES):
    return rng.integers(180, 240, (n_images, 240, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.arange(N_IMAGES) % 3


def test_ring_is_the_edge_alone():
    square = np.zeros((RING_SIDE_PX, RING_SIDE_PX, 3), np.uint8)
    square[2:-2, 2:-2] = 255
    assert not border_ring(square).any()
    assert border_ring(255 - square).all()


def test_finds_a_brighter_background_of_one_class(labels):
    images = rings(np.random.default_rng(0))
    images[labels == 1] += 12
    score = border_score(images, labels, np.arange(N_IMAGES))
    assert score.is_above_chance
    assert score.low <= score.balanced_accuracy <= score.high


def test_finds_padding_that_some_images_of_one_class_have(labels):
    images = rings(np.random.default_rng(0))
    images[(labels == 2) & (np.arange(N_IMAGES) % 2 == 0), 100:160] = 0
    assert border_score(images, labels, np.arange(N_IMAGES)).is_above_chance


def test_is_seldom_wrong_where_the_border_tells_nothing(labels):
    scores = [
        border_score(rings(np.random.default_rng(seed)), labels, np.arange(N_IMAGES), seed=seed)
        for seed in range(8)
    ]
    assert sum(score.is_above_chance for score in scores) <= 1
    assert np.mean([score.chance for score in scores]) == pytest.approx(1 / 3, abs=0.02)


def test_groups_stay_together(labels):
    """Backgrounds differ between groups of one class each, and tell nothing about new groups."""
    rng = np.random.default_rng(0)
    group = np.arange(N_IMAGES) // 6
    of_group = rng.permutation(np.arange(group.max() + 1) % 3)
    images = np.repeat(rng.integers(100, 200, (group.max() + 1, 1, 3)), 6, axis=0) + rng.integers(
        0, 9, (N_IMAGES, 240, 3)
    )
    pixels = images.astype(np.uint8)
    assert border_score(pixels, of_group[group], np.arange(N_IMAGES)).balanced_accuracy > 0.8
    assert not border_score(pixels, of_group[group], group).is_above_chance


def test_the_same_twice(labels):
    images = rings(np.random.default_rng(0))
    assert border_score(images, labels, np.arange(N_IMAGES)) == border_score(images, labels, np.arange(N_IMAGES))


def test_too_few_images():
    images = rings(np.random.default_rng(0), 6)
    assert border_score(images, np.array([0, 0, 0, 1, 1, 1]), np.arange(6)) is None


def test_padding():
    labels = np.repeat([0, 1], 50)
    assert padding_p(labels == 1, labels) < 0.001
    assert padding_p(np.arange(100) % 10 == 0, labels) > 0.5
    assert padding_p(np.zeros(100, bool), labels) == 1.0
