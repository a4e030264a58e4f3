import numpy as np
import pytest

from search.training.nuclei import background, nuclei, otsu, surroundings

GLASS, RED_CELL, PURPLE = (250, 235, 215), (230, 180, 170), (90, 40, 130)


def disc(side, centre, radius):
    rows, columns = np.mgrid[:side, :side]
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def cell(side=40, *, glass=GLASS, purple=PURPLE, radius=7, centre=None):
    """A nucleus in the middle, and a red cell in a corner."""
    middle = ((side - 1) / 2,) * 2 if centre is None else centre
    image = np.full((side, side, 3), glass, np.uint8)
    image[disc(side, (side / 6, side / 6), side / 7)] = RED_CELL
    image[disc(side, middle, radius)] = purple
    return image


def overlap(found, wanted):
    return (found & wanted).sum() / (found | wanted).sum()


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (190, 195, 190), (250, 225, 120)])
@pytest.mark.parametrize("purple", [PURPLE, (160, 90, 180), (60, 20, 60)])
@pytest.mark.parametrize("radius", [5, 8, 11])
def test_a_nucleus_is_found_whatever_stain_light_and_size(glass, purple, radius):
    found = nuclei(cell(glass=glass, purple=purple, radius=radius)[None])
    assert found.dtype == bool
    assert overlap(found[0], disc(40, (19.5, 19.5), radius)) > 0.8


def test_each_image_is_searched_by_itself():
    images = np.stack([cell(radius=radius) for radius in (5, 9, 7, 11)])
    together = nuclei(images)
    assert all(np.array_equal(nuclei(image[None])[0], mask) for image, mask in zip(images, together, strict=True))


def test_of_two_nuclei_the_one_nearer_to_the_centre_is_taken():
    image = cell(radius=6, centre=(20, 24))
    image[disc(40, (20, 3), 6)] = PURPLE
    assert overlap(nuclei(image[None])[0], disc(40, (20, 24), 6)) > 0.8


def test_lobes_that_lie_close_are_one_nucleus():
    image = cell(radius=5, centre=(20, 15))
    other = disc(40, (20, 27), 5)
    image[other] = PURPLE
    assert nuclei(image[None])[0][other].mean() > 0.8


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 40, 130)])
def test_an_image_of_one_colour_has_no_nucleus(colour):
    images = np.broadcast_to(np.array(colour, np.uint8), (2, 16, 16, 3))
    assert not nuclei(images).any()


def test_the_background_is_that_of_most_of_the_image():
    assert background(cell()[None]).ravel().tolist() == list(GLASS)
    assert background(np.zeros((1, 8, 8, 3), np.uint8)).min() == 1


def test_surroundings_grow_by_a_distance_and_have_no_holes():
    mask = disc(41, (20, 20), 6)[None]
    ring = mask & ~disc(41, (20, 20), 3)
    for distance_px in (0, 1, 4):
        grown = surroundings(ring, distance_px)
        assert (grown >= ring).all()
        if distance_px:
            assert overlap(grown[0], disc(41, (20, 20), 6 + distance_px)) > 0.85
    assert not surroundings(np.zeros((2, 9, 9), bool), 3).any()


def test_the_threshold_parts_two_groups_of_values():
    generator = np.random.default_rng(0)
    low, high = generator.normal(0, 1, (3, 200)), generator.normal(10, 1, (3, 200))
    values = np.concatenate([low, high], axis=1).reshape(3, 20, 20).astype(np.float32)
    above = values > otsu(values)[:, None, None]
    assert above[:, :10].mean() < 0.03
    assert above[:, 10:].mean() > 0.97
    assert otsu(np.full((1, 4, 4), 2.5, np.float32)) == [2.5]
