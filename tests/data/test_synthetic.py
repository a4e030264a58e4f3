"""The drawn data set: reproducible, unequal as blood is, one drawing for all sizes."""

import itertools

import numpy as np
import pytest
from PIL import Image

from search.data.imageset import ImageSet, Source
from search.data.synthetic import BASE_SIDE_PX, CELL_TYPES, SyntheticSource

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


@pytest.fixture(scope="module")
def first() -> ImageSet:
    return SyntheticSource(0, "first").decode([BASE_SIDE_PX, 28])


@pytest.fixture(scope="module")
def second() -> ImageSet:
    return SyntheticSource(0, "second").decode([40])


def test_is_a_source() -> None:
    source: Source = SyntheticSource(0, "first")
    assert source.listing.source == "synthetic"
    assert SyntheticSource(0, "second").listing.source == "synthetic-2"


@pytest.mark.parametrize(("microscope", "n_images"), [("first", 400), ("second", 250)])
def test_listing_counts(microscope, n_images: int) -> None:
    listing = SyntheticSource(0, microscope).listing
    assert listing.classes == CLASSES == tuple(CELL_TYPES)
    assert listing.labels.dtype == np.int64
    assert listing.labels.shape == (n_images,)
    assert len(set(listing.names)) == n_images
    assert listing.class_counts().min() >= 13
    assert listing.groups is None
    assert "no evidence about blood cells" in listing.notes[0]
    for name, label in zip(listing.names, listing.labels, strict=True):
        assert name.startswith(CLASSES[label] + "/")


def test_first_is_unequal_as_blood_and_second_is_not() -> None:
    first, second = (SyntheticSource(0, m).listing.class_counts() for m in ("first", "second"))
    assert first.max() > 10 * first.min()
    assert second.max() < 2 * second.min()


def test_listing_needs_no_drawing(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("drawn")

    monkeypatch.setattr("search.data.synthetic.draw_cell", fail)
    source = SyntheticSource(0, "first")
    assert source.listing.names[0] == "basophil/0001.png"
    with pytest.raises(RuntimeError, match="drawn"):
        source.decode([28])


def test_decoded_set_keeps_the_listing(first: ImageSet) -> None:
    listing = SyntheticSource(0, "first").listing
    for field in ("source", "classes", "names", "groups", "notes"):
        assert getattr(first, field) == getattr(listing, field)
    np.testing.assert_array_equal(first.labels, listing.labels)


def test_pixels_shape_dtype_and_read_only(first: ImageSet) -> None:
    assert set(first.pixels) == {BASE_SIDE_PX, 28}
    for side, pixels in first.pixels.items():
        assert pixels.dtype == np.uint8
        assert pixels.shape == (400, side, side, 3)
        assert not pixels.flags.writeable
    assert not first.labels.flags.writeable


def test_images_all_differ(first: ImageSet) -> None:
    assert len({image.tobytes() for image in first.pixels[28]}) == 400


def test_cells_are_darker_than_the_field(first: ImageSet, second: ImageSet) -> None:
    for pixels in (first.pixels[28], second.pixels[40]):
        middle = pixels.shape[1] // 2
        centre = pixels[:, middle - 4 : middle + 4, middle - 4 : middle + 4].mean(axis=(1, 2, 3))
        bright = np.percentile(pixels, 90, axis=(1, 2, 3))
        assert (centre < bright - 20).all()


def test_same_seed_same_bytes_other_seed_differs(second: ImageSet) -> None:
    again = SyntheticSource(0, "second").decode([40])
    other = SyntheticSource(1, "second").decode([40])
    assert again.pixels[40].tobytes() == second.pixels[40].tobytes()
    assert again.fingerprint == second.fingerprint
    assert other.fingerprint != second.fingerprint
    assert all((a != b).any() for a, b in zip(other.pixels[40], second.pixels[40], strict=True))


def test_microscopes_differ(first: ImageSet, second: ImageSet) -> None:
    assert first.fingerprint != second.fingerprint
    colours = [np.median(s.pixels[side], axis=(0, 1, 2)) for s, side in ((first, 28), (second, 40))]
    assert np.abs(colours[0] - colours[1]).max() > 10


def test_fingerprint_independent_of_sides(second: ImageSet) -> None:
    assert SyntheticSource(0, "second").decode([8, 16]).fingerprint == second.fingerprint


def test_sides_come_from_one_drawing(first: ImageSet, monkeypatch) -> None:
    for large, small in itertools.islice(zip(first.pixels[BASE_SIDE_PX], first.pixels[28], strict=True), 20):
        scaled = Image.fromarray(large).resize((28, 28), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.asarray(scaled), small)
    drawn = []
    blank = np.zeros((BASE_SIDE_PX, BASE_SIDE_PX, 3), np.uint8)
    monkeypatch.setattr("search.data.synthetic.draw_cell", lambda *args: drawn.append(args) or blank)
    SyntheticSource(0, "first").decode([8, 16, 24])
    assert len(drawn) == 400
