import numpy as np
from drawn_cells import drawn_cell
from PIL import ImageFilter

from search.audit.measures import measure
from search.audit.outliers import blurred, off_colour, off_size, robust_z


def test_robust_z_is_near_that_of_a_normal_distribution():
    z = robust_z(np.random.default_rng(0).normal(5, 3, 20_000), 0.1)
    assert abs(np.median(z)) < 1e-9
    assert abs(z.std() - 1) < 0.03


def test_one_wild_value_does_not_hide_another():
    z = robust_z(np.array([*np.linspace(-1, 1, 30), 50.0, 1e6]), 0.1)
    assert (z[-2:] > 10).all()


def test_equal_values_are_no_outliers():
    assert not robust_z(np.full(9, 7.0), 0.1).any()


def test_classes_are_held_against_themselves():
    sharpness = np.concatenate([np.full(30, 3.0), np.full(30, 8.0)])
    labels = np.repeat([0, 1], 30)
    assert not blurred(sharpness, labels).any()
    sharpness[45] = 3.0
    assert np.flatnonzero(blurred(sharpness, labels)).tolist() == [45]


def test_colour_and_size():
    rng = np.random.default_rng(0)
    channels = rng.normal(50, 2, (60, 4))
    channels[7, 2] += 40
    assert np.flatnonzero(off_colour(channels, np.zeros(60, np.int64))).tolist() == [7]
    sizes = np.tile([[70, 70]], (20, 1))
    sizes[3] = 35, 35
    sizes[4] = 100, 49
    assert np.flatnonzero(off_size(sizes)).tolist() == [3, 4]


def test_sharpness_falls_with_blur_and_ignores_the_edge_of_padding():
    cell = drawn_cell(0)
    sharp, soft = (measure(np.asarray(image)) for image in (cell, cell.filter(ImageFilter.GaussianBlur(2))))
    assert soft.sharpness < sharp.sharpness - 1
    padded = np.pad(np.asarray(cell), ((0, 0), (20, 0), (0, 0)))
    assert abs(measure(padded).sharpness - sharp.sharpness) < 0.2
    assert measure(padded).black_share > 0.2
    assert sharp.black_share == 0


def test_an_image_of_one_black_pixel_is_measured():
    assert np.isfinite(measure(np.zeros((1, 1, 3), np.uint8)).optical_density)
