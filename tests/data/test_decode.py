import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from search.common.errors import InputError
from search.data import decode
from search.data.imageset import Listing
from search.data.loading import decode_listing

RED = (200, 40, 60)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def png_16_bit_colour(path: Path, values: np.ndarray) -> Path:
    """A file that neither Pillow nor tifffile can write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    return path


def listing_of(names: list[str], **changes: object) -> Listing:
    labels = np.arange(len(names), dtype=np.int64) % 2
    return Listing(**{"source": "made", "classes": ("a", "b"), "names": tuple(names), "labels": labels} | changes)


def noise(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("extension", ["jpg", "JPEG"])
def test_jpeg_keeps_the_colour(tmp_path, extension):
    rgb = decode.read_rgb(save(tmp_path / f"x.{extension}", Image.new("RGB", (9, 5), RED)))
    assert rgb.shape == (5, 9, 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - RED).max() <= 3


@pytest.mark.parametrize(
    ("extension", "options"),
    [
        *((extension, {}) for extension in ("tif", "tiff", "TIF", "bmp", "png")),
        *(("tif", {"compression": each}) for each in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
    ],
)
def test_lossless_formats_keep_every_pixel(tmp_path, extension, options):
    pixels = noise(1, 7, 11)
    assert np.array_equal(decode.read_rgb(save(tmp_path / f"x.{extension}", pixels, **options)), pixels)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("RGB", (4, 4), RED).quantize(4), RED),
        (Image.new("RGBA", (4, 4), (*RED, 255)), RED),
        (Image.new("RGBA", (4, 4), (*RED, 0)), RED),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 51)), (0, 0, 0)),
        (Image.new("LA", (4, 4), (0, 0)), (0, 0, 0)),
        (Image.new("LA", (4, 4), (9, 255)), (9, 9, 9)),
    ],
    ids=["L", "1", "P", "RGBA", "RGBA-clear", "RGBA-fifth", "LA-clear", "LA"],
)
def test_modes_of_png(tmp_path, image, expected):
    rgb = decode.read_rgb(save(tmp_path / "x.png", image))
    assert rgb.shape == (4, 4, 3)
    assert (rgb == expected).all()


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"], ids=["one colour", "per colour"])
def test_transparent_palette_colour_becomes_white(tmp_path, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    rgb = decode.read_rgb(save(tmp_path / "x.png", image, transparency=transparency))
    assert rgb.tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("extension", ["tif", "jpg"])
def test_cmyk(tmp_path, extension):
    rgb = decode.read_rgb(save(tmp_path / f"x.{extension}", Image.new("CMYK", (8, 8), (0, 255, 255, 0))))
    assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 3


# More than 8 bits per channel

# Values, and their shades by the least of 8, 12 and 16 bits that holds the brightest.
WIDE = [
    ([0, 32896, 65535], [0, 128, 255]),
    ([0, 2056, 4000], [0, 128, 249]),
    ([0, 128, 200], [0, 128, 200]),
    ([30000, 40000, 50000], [117, 156, 195]),
]


@pytest.mark.parametrize(("values", "shades"), WIDE)
@pytest.mark.parametrize(
    ("extension", "dtype", "options"),
    [
        ("tif", np.uint16, {}),
        ("tif", np.uint16, {"compression": "tiff_lzw"}),
        ("tif", np.int32, {}),
        ("tif", np.float32, {}),
        ("png", np.uint16, {}),
    ],
)
def test_grey_is_scaled_by_the_bits_of_its_brightest_value(tmp_path, extension, dtype, options, values, shades):
    rgb = decode.read_rgb(save(tmp_path / f"x.{extension}", np.array([values], dtype), **options))
    assert rgb[0, :, 0].tolist() == shades
    assert (rgb == rgb[:, :, :1]).all()


@pytest.mark.parametrize(("values", "shades"), WIDE)
@pytest.mark.parametrize(
    "options", [{}, {"planarconfig": "separate"}, {"compression": "zlib"}, {"byteorder": ">"}, {"bigtiff": True}]
)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.float32])
def test_so_is_colour_in_a_tiff(tmp_path, dtype, options, values, shades):
    colours = np.array([[values, values[::-1]]] * 2, dtype)  # shape (2, 2, 3)
    planar = options.get("planarconfig") == "separate"
    written = np.moveaxis(colours, -1, 0) if planar else colours
    tifffile.imwrite(tmp_path / "x.tif", written, photometric="rgb", **options)
    assert decode.read_rgb(tmp_path / "x.tif").tolist() == [[shades, shades[::-1]]] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_from_0_to_1_are_shares(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "x.tif", np.array([[0.0, 0.5, 1.0]], dtype), photometric="minisblack")
    assert decode.read_rgb(tmp_path / "x.tif")[0, :, 0].tolist() == [0, 128, 255]


def test_transparent_16_bit_colour_becomes_white(tmp_path):
    values = np.array([[[65535, 0, 257, 65535], [65535, 0, 257, 0]]], np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    assert decode.read_rgb(tmp_path / "x.tif").tolist() == [[[255, 0, 1], [255, 255, 255]]]


def test_a_16_bit_png_keeps_its_upper_byte_and_is_refused_if_it_uses_12_bits(tmp_path):
    pixels = noise(3, 5, 6)
    bright = png_16_bit_colour(tmp_path / "bright.png", pixels.astype(np.uint16) * 257)
    assert np.array_equal(decode.read_rgb(bright), pixels)
    with pytest.raises(InputError, match=r"dark\.png.*12 bits"):
        decode.read_rgb(png_16_bit_colour(tmp_path / "dark.png", pixels.astype(np.uint16) * 16))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 70000]], np.int32), "70000"),
        (np.array([[0, np.nan]], np.float32), "not finite"),
        (np.array([[[0, 70000, 0]]], np.uint32), "70000"),
    ],
)
def test_values_beyond_16_bits_are_refused(tmp_path, values, reason):
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", values, photometric=photometric)
    with pytest.raises(InputError, match=reason):
        decode.read_rgb(tmp_path / "x.tif")


# Orientation, pages, damage


@pytest.mark.parametrize("extension", ["jpg", "tif", "png"])
def test_exif_orientation_turns_the_image(tmp_path, extension):
    image = Image.new("RGB", (40, 20), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 19, 19), fill="black")  # left half
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise: left becomes top
    rgb = decode.read_rgb(save(tmp_path / f"x.{extension}", image, exif=exif))
    assert rgb.shape == (40, 20, 3)
    assert rgb[:15].max() < 30
    assert rgb[25:].min() > 225


def test_16_bit_tiff_orientation_turns_the_image(tmp_path):
    values = np.array([[[65535] * 3, [0] * 3]], np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    assert decode.read_rgb(tmp_path / "x.tif")[:, :, 0].tolist() == [[255], [0]]


@pytest.mark.parametrize("factor", [1, 257])
def test_the_first_page_of_a_tiff_is_read(tmp_path, factor):
    pages = np.array([RED, (0, 0, 0)], np.uint8 if factor == 1 else np.uint16)[:, None, None] * factor
    tifffile.imwrite(
        tmp_path / "x.tif", np.broadcast_to(pages, (2, 4, 4, 3)).astype(pages.dtype), photometric="rgb"
    )
    assert (decode.read_rgb(tmp_path / "x.tif") == RED).all()


def truncated(kind: str, dtype: type = np.uint8) -> bytes:
    file, pixels = io.BytesIO(), noise(4, 64, 64).astype(dtype)
    if dtype == np.uint8:
        Image.fromarray(pixels).save(file, kind)
    else:
        tifffile.imwrite(file, pixels, photometric="rgb")
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.jpg", truncated("JPEG")),
        ("cut.png", truncated("PNG")),
        ("cut.bmp", truncated("BMP")),
        ("cut.tif", truncated("TIFF")),
        ("cut16.tif", truncated("TIFF", np.uint16)),
        ("cutfloat.tif", truncated("TIFF", np.float32)),
        ("missing.png", None),
        ("empty.png", b""),
        ("text.png", b"this is no image\n"),
        ("head.tif", b"II*\0" + b"\xff" * 20),
        ("head.bmp", b"BM" + b"\0" * 60),
        ("animation.png", b"GIF89a" + b"\0" * 40),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, capfd, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        decode.read_rgb(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: cannot be read as an image: ")
    assert "\n" not in message
    assert "BytesIO" not in message
    assert capfd.readouterr() == ("", "")


def test_decompression_bomb_is_a_damaged_image(tmp_path, monkeypatch):
    path = save(tmp_path / "huge.png", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"huge\.png.*decompression bomb"):
        decode.read_rgb(path)


@pytest.mark.parametrize(("height", "width"), [(30, 30), (91, 30), (1, 1), (5, 400)])
def test_resize_gives_the_side_and_at_its_own_size_changes_nothing(height, width):
    for side_px in (1, 8, 77):
        square = decode.resize_square(noise(5, height, width), side_px)
        assert square.shape == (side_px, side_px, 3)
        assert square.dtype == np.uint8
    assert np.array_equal(decode.resize_square(noise(6), 12), noise(6))


def test_resize_cuts_the_centre():
    rgb = np.zeros((10, 30, 3), np.uint8)
    rgb[:, 10:20] = RED
    assert (decode.resize_square(rgb, 5) == RED).all()
    assert (decode.resize_square(rgb.transpose(1, 0, 2).copy(), 5) == RED).all()


def test_resize_averages_where_it_shrinks():
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::2] = 255  # skipping pixels would leave black or white
    small = decode.resize_square(lines, 8)
    assert np.abs(small.astype(int) - 127).max() < 16


def test_listing_order_and_sizes(tmp_path):
    names = [f"{number}.png" for number in range(20)]
    for number, name in enumerate(names):
        save(tmp_path / name, np.full((6, 6, 3), number, np.uint8))
    images = decode_listing(tmp_path, listing_of(names[::-1]), [4, 9])
    assert set(images.pixels) == {4, 9}
    for side, pixels in images.pixels.items():
        assert pixels.shape == (20, side, side, 3)
        assert pixels[:, 0, 0, 0].tolist() == list(range(20))[::-1]
        with pytest.raises(ValueError, match="read-only"):
            pixels[0] = 0
    assert not images.labels.flags.writeable


def test_each_file_is_decoded_once(tmp_path, monkeypatch):
    names = ["a.png", "b.png", "c.png"]
    for number, name in enumerate(names):
        save(tmp_path / name, noise(7) // (number + 1))
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda *given, **options: opened.append(1) or original(*given, **options))
    decode_listing(tmp_path, listing_of(names), [4, 5, 6])
    assert len(opened) == 3


def make_four(folder: Path) -> list[str]:
    folder.mkdir()
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        save(folder / name, noise(number))
    return names


def test_fingerprint_depends_on_content_alone(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    listing = listing_of(make_four(here))
    make_four(there)
    first = decode_listing(here, listing, [4]).fingerprint
    assert decode_listing(there, listing_of(list(listing.names), source="other"), [5, 6]).fingerprint == first
    grouped = listing_of(list(listing.names), groups=np.array([0, 0, 1, 1]))
    relabelled = listing_of(list(listing.names), labels=np.array([0, 0, 1, 1]))
    renamed = listing_of(list(listing.names), classes=("a", "c"))
    save(there / "2.png", noise(99))
    others = [
        decode_listing(here, grouped, [4]).fingerprint,
        decode_listing(here, relabelled, [4]).fingerprint,
        decode_listing(here, renamed, [4]).fingerprint,
        decode_listing(there, listing, [4]).fingerprint,
    ]
    assert len({first, *others}) == 5


def test_damaged_image_stops_or_is_left_out(tmp_path):
    names = make_four(tmp_path / "x")
    groups = np.array([4, 5, 6, 6])
    (tmp_path / "x" / "1.png").write_bytes(b"no image")
    (tmp_path / "x" / "3.png").write_bytes(b"")
    listing = listing_of(names, groups=groups, labels=np.array([0, 1, 2, 0]), classes=("a", "b", "c"))
    with pytest.raises(InputError, match=r"1\.png: cannot be read as an image: .*; --skip-bad leaves such"):
        decode_listing(tmp_path / "x", listing, [4])
    images = decode_listing(tmp_path / "x", listing, [4], skip_bad=True)
    assert images.names == ("0.png", "2.png")
    assert images.classes == ("a", "c")
    assert images.labels.tolist() == [0, 1]
    assert images.groups.tolist() == [0, 1]
    assert images.pixels[4].shape == (2, 4, 4, 3)
    assert not images.pixels[4].flags.writeable
    assert len(images.notes) == 2
    assert "1.png" in images.notes[0]
    assert "3.png" in images.notes[1]


def test_fingerprint_without_bad_images_equals_that_of_the_rest(tmp_path):
    names = make_four(tmp_path / "x")
    rest = decode_listing(tmp_path / "x", listing_of(names[:3]), [4]).fingerprint
    (tmp_path / "x" / "3.png").write_bytes(b"")
    images = decode_listing(tmp_path / "x", listing_of(names), [4], skip_bad=True)
    assert images.fingerprint == rest
