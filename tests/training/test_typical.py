"""About one in a hundred images like those of the training is beyond the limit, and images unlike them are."""

import numpy as np
import pytest

from search.training.typical import BEYOND, MOST_DIRECTIONS, Typical, fit_typical

N, FEATURES, CLASSES = 3000, 20, 3


def drawn(n, seed, shift=0.0):
    """Features of three classes with a common scatter, and their labels."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (FEATURES, FEATURES))
    labels = np.arange(n) % CLASSES
    middles = 6 * np.eye(CLASSES, FEATURES)[labels]
    features = (rng.normal(0, 1, (n, FEATURES)) + middles + shift) @ mixing
    return features.astype(np.float32), labels


@pytest.fixture(scope="module")
def typical():
    return fit_typical(*drawn(N, 0))


def test_of_other_images_of_the_kind_a_hundredth_is_beyond(typical):
    assert typical.unlike(drawn(20_000, 1)[0]).mean() == pytest.approx(BEYOND, abs=0.006)


def test_images_of_another_kind_are_beyond(typical):
    assert typical.unlike(drawn(500, 2, shift=4.0)[0]).all()


def test_more_features_than_directions_and_units_of_their_own(typical):
    rng = np.random.default_rng(3)
    features, labels = drawn(N, 0)
    units = 10.0 ** rng.integers(-3, 4, FEATURES)
    scaled = fit_typical((features * units).astype(np.float32), labels)
    others = drawn(300, 4)[0]
    assert scaled.distances(others * units) == pytest.approx(typical.distances(others), rel=0.05)
    wide = np.repeat(features, 8, axis=1)
    assert fit_typical(wide, labels).directions.shape == (8 * FEATURES, MOST_DIRECTIONS)


def test_few_images_after_few_per_class_are_allowed_for():
    # With 20 features and 100 images, images that the covariance was fitted to lie nearer than others.
    own = fit_typical(*drawn(150, 5))
    assert own.unlike(drawn(5000, 6)[0]).mean() < 0.04


def test_features_that_never_change_do_not_count():
    features, labels = drawn(300, 7)
    constant = np.concatenate([features, np.full((300, 2), 5.0, np.float32)], axis=1)
    found = fit_typical(constant, labels)
    assert np.isfinite(found.distances(constant)).all()


def test_too_few_images_and_features_that_are_all_the_same_tell_nothing():
    assert fit_typical(*drawn(99, 8)) is None
    assert fit_typical(np.ones((200, 4), np.float32), np.arange(200) % 2) is None


def test_it_is_written_and_read_again(typical):
    again, others = Typical.from_bytes(typical.to_bytes()), drawn(50, 9)[0]
    assert np.array_equal(again.distances(others), typical.distances(others))
    assert again.to_bytes() == typical.to_bytes()
    assert all(value.dtype == np.float32 for value in vars(again).values())
