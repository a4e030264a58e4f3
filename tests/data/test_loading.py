"""Images of a listing: one scale for all, and what identical images mean."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.common.errors import InputError
from search.data.imageset import Listing
from search.data.loading import decode_listing, joined


def listing_of(n_images: int, **options: object) -> Listing:
    names = tuple(f"{number}.tif" for number in range(n_images))
    labels = np.arange(n_images) % 2
    return Listing(source="x", classes=("a", "b"), names=names, labels=labels, **options)


def save(folder: Path, *images: np.ndarray) -> None:
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.tif")


def shades(seed: int, full: float, dtype: type = np.float32) -> np.ndarray:
    values = np.random.default_rng(seed).random((6, 6))
    values[0, 0] = 1
    return (values * full).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "fulls", "common"), [(np.float32, (1.003, 0.6), 1), (np.uint16, (4000, 900), 4095)]
)
def test_one_scale_for_the_whole_data_set(tmp_path, dtype, fulls, common):
    images = [shades(seed, full, dtype) for seed, full in enumerate(fulls)]
    save(tmp_path, *images)
    pixels = decode_listing(tmp_path, listing_of(2), [6]).pixels[6]
    for decoded, image in zip(pixels, images, strict=True):
        expected = np.rint(image.astype(float).clip(0, common) * (255 / common))
        np.testing.assert_allclose(decoded[:, :, 0], expected, atol=1)


def test_a_dark_image_has_the_scale_of_the_others(tmp_path):
    save(tmp_path, shades(0, 4000, np.uint16), shades(1, 500, np.uint16) // 2 * 2)
    assert decode_listing(tmp_path, listing_of(2), [6]).pixels[6][1].max() == round(500 * 255 / 4095)


def test_images_on_two_scales_are_named(tmp_path):
    save(tmp_path, shades(0, 257), shades(1, 1.003), shades(2, 255), shades(3, 255), shades(4, 255))
    with pytest.raises(InputError, match=r"1\.tif: .* 0\.tif"):
        decode_listing(tmp_path, listing_of(5), [6])
    assert decode_listing(tmp_path, listing_of(5), [6], skip_bad=True).names == (
        "0.tif",
        "2.tif",
        "3.tif",
        "4.tif",
    )


def test_standardised_images_are_named(tmp_path):
    save(tmp_path, shades(0, 1), shades(1, 2) - 1)
    with pytest.raises(InputError, match=r"1\.tif: .*negative"):
        decode_listing(tmp_path, listing_of(2), [6])


def test_identical_images_with_one_label_are_a_group(tmp_path):
    save(tmp_path, *(shades(seed % 4, 1) for seed in range(6)))
    images = decode_listing(tmp_path, listing_of(6), [6])
    assert images.groups[0] == images.groups[4]
    assert images.groups[1] == images.groups[5]
    assert len(np.unique(images.groups)) == 4
    assert images.groups.flags.writeable is False


@pytest.mark.parametrize(
    ("seeds", "options"), [((0, 0, 2, 3), {}), ((0, 1, 0, 3), {"parts": ("train", "train", "test", "test")})]
)
def test_identical_images_that_contradict_each_other_are_named(tmp_path, seeds, options):
    save(tmp_path, *(shades(seed, 1) for seed in seeds), shades(8, 1), shades(9, 1))
    options = {name: (*values, "train", "train") for name, values in options.items()}
    other = seeds.index(0, 1)
    with pytest.raises(InputError, match=rf"0\.tif: .*{other}\.tif"):
        decode_listing(tmp_path, listing_of(6, **options), [6])
    left = decode_listing(tmp_path, listing_of(6, **options), [6], skip_bad=True)
    assert set(left.names) == {f"{number}.tif" for number in range(6)} - {"0.tif", f"{other}.tif"}


def test_three_pages_of_one_channel_are_a_colour_image(tmp_path):
    pages = [Image.fromarray(shades(seed, 255, np.uint8)) for seed in range(4)]
    for number, n_pages in enumerate((3, 2)):
        pages[0].save(tmp_path / f"{number}.tif", save_all=True, append_images=pages[1:n_pages])
    images = decode_listing(tmp_path, listing_of(2), [6])
    np.testing.assert_array_equal(images.pixels[6][0], np.stack([np.array(page) for page in pages[:3]], axis=2))
    (note,) = images.notes
    assert "1.tif" in note


def test_an_alpha_channel_that_hides_everything_is_ignored(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (6, 6, 4), dtype=np.uint8)
    rgb[:, :, 3] = 0
    Image.fromarray(rgb).save(tmp_path / "0.tif")
    Image.fromarray(rgb[:, :, :3][::-1].copy()).save(tmp_path / "1.tif")
    images = decode_listing(tmp_path, listing_of(2), [6])
    np.testing.assert_array_equal(images.pixels[6][0], rgb[:, :, :3])
    assert any("0.tif" in note for note in images.notes)


def test_groups_are_joined_by_pairs_and_otherwise_kept():
    groups = np.array([0, 0, 1, 2, 2, 3])
    found = joined(6, groups, [[1, 2], [5, 0]])
    assert found[0] == found[1] == found[2] == found[5]
    assert found[3] == found[4] != found[0]
    assert joined(3, None, []).tolist() == [0, 1, 2]
