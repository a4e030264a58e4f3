import numpy as np
import pytest
from PIL import Image

from search.data.imageset import ImageSet
from search.data.synthetic import BASE_SIDE_PX, CELL_TYPES, SyntheticSource

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


@pytest.fixture(scope="module")
def first() -> ImageSet:
    return SyntheticSource(0, "first").decode([BASE_SIDE_PX, 28])


@pytest.fixture(scope="module")
def second() -> ImageSet:
    return SyntheticSource(0, "second").decode([40])


@pytest.mark.parametrize(("microscope", "n_images"), [("first", 400), ("second", 250)])
def test_listings_need_no_drawing(monkeypatch, microscope, n_images) -> None:
    monkeypatch.setattr("search.data.synthetic.draw_cell", None)
    listing = SyntheticSource(0, microscope).listing
    assert listing.classes == CLASSES == tuple(CELL_TYPES)
    assert listing.labels.dtype == np.int64
    assert len(set(listing.names)) == len(listing.labels) == n_images
    assert listing.class_counts().min() >= 13
    assert "no evidence about blood cells" in listing.notes[0]
    for name, label in zip(listing.names, listing.labels, strict=True):
        assert name.startswith(CLASSES[label] + "/")


def test_the_first_is_as_unequal_as_blood_and_the_second_is_not(first: ImageSet, second: ImageSet) -> None:
    assert (first.source, second.source) == ("synthetic", "synthetic-2")
    assert first.class_counts().max() > 10 * first.class_counts().min()
    assert second.class_counts().max() < 2 * second.class_counts().min()
    assert first.fingerprint != second.fingerprint
    colours = [np.median(s.pixels[side], axis=(0, 1, 2)) for s, side in ((first, 28), (second, 40))]
    assert np.abs(colours[0] - colours[1]).max() > 10


def test_a_decoded_set_keeps_the_listing_and_is_read_only(first: ImageSet) -> None:
    listing = SyntheticSource(0, "first").listing
    for field in ("source", "classes", "names", "groups", "notes"):
        assert getattr(first, field) == getattr(listing, field)
    np.testing.assert_array_equal(first.labels, listing.labels)
    for side, pixels in first.pixels.items():
        assert pixels.dtype == np.uint8
        assert pixels.shape == (400, side, side, 3)
        assert not pixels.flags.writeable
    assert not first.labels.flags.writeable


def test_all_images_differ_and_their_cells_are_darker_than_the_field(first: ImageSet, second: ImageSet) -> None:
    assert len({image.tobytes() for image in first.pixels[28]}) == 400
    for pixels in (first.pixels[28], second.pixels[40]):
        middle = pixels.shape[1] // 2
        centre = pixels[:, middle - 4 : middle + 4, middle - 4 : middle + 4].mean(axis=(1, 2, 3))
        bright = np.percentile(pixels, 90, axis=(1, 2, 3))
        assert (centre < bright - 20).all()


def test_an_image_depends_on_seed_and_number_only(second: ImageSet) -> None:
    again, other = SyntheticSource(0, "second"), SyntheticSource(1, "second")
    for number in (249, 0, 77):
        name = second.names[number]
        drawn = Image.fromarray(again.photograph(name)).resize((40, 40), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.asarray(drawn), second.pixels[40][number])
        assert (other.photograph(name) != again.photograph(name)).any()


def test_all_sides_come_from_one_drawing(first: ImageSet, monkeypatch) -> None:
    for large, small in zip(first.pixels[BASE_SIDE_PX][:20], first.pixels[28], strict=False):
        scaled = Image.fromarray(large).resize((28, 28), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.asarray(scaled), small)
    drawn = []
    blank = np.zeros((BASE_SIDE_PX, BASE_SIDE_PX, 3), np.uint8)
    monkeypatch.setattr("search.data.synthetic.draw_cell", lambda *args: drawn.append(args) or blank)
    three, one = (SyntheticSource(0, "first").decode(sides) for sides in ([8, 16, 24], [28]))
    assert len(drawn) == 2 * 400
    assert three.fingerprint == one.fingerprint != first.fingerprint
