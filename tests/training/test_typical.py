"""About one in a hundred images like those of the training is beyond a limit, and images unlike them are."""

import numpy as np
import pytest

from search.training.typical import AT_ONCE, BEYOND, MOST_DIRECTIONS, Typical, fit_typical, views_of

N, VALUES, CLASSES = 3000, 20, 3


def drawn(n, seed, shift=0.0):
    """Values of images of three classes with a common scatter, in two views, and their labels."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (VALUES, VALUES))
    labels = np.arange(n) % CLASSES
    middles = 6 * np.eye(CLASSES, VALUES)[labels]
    values = ((rng.normal(0, 1, (n, VALUES)) + middles + shift) @ mixing).astype(np.float32)
    return {"colours": values[:, :6], "features": values}, labels


@pytest.fixture(scope="module")
def typical():
    return fit_typical(*drawn(N, 0))


def test_of_other_images_of_the_kind_a_hundredth_is_beyond(typical):
    assert BEYOND / 3 < typical.unlike(drawn(20_000, 1)[0]).mean() < 1.5 * BEYOND


@pytest.mark.parametrize("view", ["colours", "features"])
def test_images_of_another_kind_in_either_view_are_beyond(typical, view):
    like, unlike = drawn(500, 2)[0], drawn(500, 2, shift=8.0)[0]
    assert typical.unlike(like | {view: unlike[view]}).mean() > 0.9


def test_values_have_units_of_their_own(typical):
    views, labels = drawn(N, 0)
    units = 10.0 ** np.random.default_rng(3).integers(-3, 4, VALUES)
    scaled = fit_typical({"features": views["features"] * units}, labels).regions["features"]
    others = drawn(300, 4)[0]["features"]
    assert scaled.distances(others * units) == pytest.approx(
        typical.regions["features"].distances(others), rel=0.05
    )
    assert scaled.directions.shape == (VALUES, MOST_DIRECTIONS)


def test_few_images_are_allowed_for():
    # Images that the covariance was fitted to lie nearer than others.
    assert fit_typical(*drawn(150, 5)).unlike(drawn(5000, 6)[0]).mean() < 0.04


def test_values_that_never_change_do_not_count():
    views, labels = drawn(300, 7)
    constant = np.concatenate([views["features"], np.full((300, 2), 5.0, np.float32)], axis=1)
    found = fit_typical(views | {"features": constant, "third": np.ones((300, 4))}, labels)
    assert set(found.regions) == {"colours", "features"}
    assert np.isfinite(found.regions["features"].distances(constant)).all()


def test_too_few_images_and_images_that_are_all_the_same_tell_nothing():
    assert fit_typical(*drawn(99, 8)) is None
    assert fit_typical({"colours": np.ones((200, 6))}, np.arange(200) % 2) is None


def test_it_is_written_and_read_again(typical):
    again, others = Typical.from_bytes(typical.to_bytes()), drawn(50, 9)[0]
    assert np.array_equal(again.unlike(others), typical.unlike(others))
    assert again.to_bytes() == typical.to_bytes()
    for region in again.regions.values():
        assert all(value.dtype == np.float32 for value in vars(region).values())


def test_colours_are_means_and_spreads_of_each_image():
    images = np.random.default_rng(0).integers(0, 256, (AT_ONCE + 2, 5, 5, 3), dtype=np.uint8)
    colours = views_of(images, None)["colours"]
    expected = np.concatenate([images.mean((1, 2)), images.astype(float).std((1, 2))], axis=1)
    np.testing.assert_allclose(colours, expected)
    assert set(views_of(images, np.zeros((AT_ONCE + 2, 4)))) == {"colours", "features"}
