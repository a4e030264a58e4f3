from pathlib import Path

import numpy as np
import pytest
from drawn_cells import drawn_cell, thumbnails
from PIL import ImageChops, ImageFilter, ImageOps

from search.audit.duplicates import near_identical
from search.audit.measures import THUMBNAIL_PX, grey_levels
from search.data.folder import open_folder
from search.data.loading import linked

REAL = Path(__file__).parents[3] / "shared" / "data"
CHANGES = {
    "same": lambda image: image,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(0.8)),
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.rotate(90),
    "turned and mirrored": lambda image: ImageOps.flip(image.rotate(90)),
    "moved": lambda image: ImageChops.offset(image, 3, -2),
}


def real_thumbnails(name):
    if not (REAL / name).is_dir():
        pytest.skip(f"no real images {name} in ../shared/data next to the repository")
    source = open_folder(REAL / name)
    return source.listing.names, grey_levels(source.decode([THUMBNAIL_PX]).pixels[THUMBNAIL_PX])


@pytest.fixture(scope="module")
def cells():
    return [drawn_cell(number) for number in range(40)]


def places(pairs):
    return {(pair.first, pair.second) for pair in pairs}


def test_different_cells_are_no_pair(cells):
    assert near_identical(thumbnails(cells)) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_with_its_original_alone(cells, change):
    copies = [CHANGES[change](cell) for cell in cells[:8]]
    found = near_identical(thumbnails([*cells, *copies]))
    assert places(found) == {(k, len(cells) + k) for k in range(8)}
    assert all(0.9 <= pair.correlation < 1.001 for pair in found)


def test_pairs_do_not_depend_on_the_order(cells):
    images = thumbnails([*cells, *(ImageOps.mirror(cell) for cell in cells[:5])])
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = {
        tuple(sorted((order[first], order[second]))) for first, second in places(near_identical(images[order]))
    }
    assert shuffled == places(near_identical(images))


def test_mirror_images_are_left_out_on_request(cells):
    images = thumbnails([*cells, ImageOps.mirror(cells[0]), cells[1]])
    assert places(near_identical(images, turned=False)) == {(1, len(cells) + 1)}


def test_blank_images_are_no_pair(cells):
    blank = np.full((3, THUMBNAIL_PX, THUMBNAIL_PX), 240, np.uint8)
    assert near_identical(np.concatenate([thumbnails(cells), blank])) == []


@pytest.mark.parametrize("n_images", [0, 1])
def test_too_few_images_to_compare(cells, n_images):
    assert near_identical(thumbnails(cells)[:n_images]) == []


def test_linked_through_others():
    numbers = linked(6, np.array([(0, 3), (3, 5), (1, 2)]))
    assert numbers.tolist() == [0, 1, 1, 0, 2, 0]
    assert linked(2, np.empty((0, 2), np.int64)).tolist() == [0, 1]


def test_known_pairs_among_real_images():
    names, images = real_thumbnails("lisc255")
    found = {(names[first], names[second]) for first, second in places(near_identical(images))}
    assert {
        ("neutrophil/013.bmp", "neutrophil/029.bmp"),
        ("basophil/016.bmp", "basophil/025.bmp"),
        ("eosinophil/006.bmp", "eosinophil/007.bmp"),
    } <= found
    assert len(found) < 25
    assert all(first.split("/")[0] == second.split("/")[0] for first, second in found)


@pytest.mark.slow
def test_few_mistakes_among_real_images():
    _, images = real_thumbnails("pbc2172")
    flagged = {place for pair in places(near_identical(images)) for place in pair}
    assert len(flagged) <= 0.01 * len(images)
