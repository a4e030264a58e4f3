import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from search.common.errors import InputError
from search.data import decode
from search.data.imageset import Listing

RED = (200, 40, 60)
EXTENSIONS = ("tif", "tiff", "bmp", "png", "jpg", "JPEG", "TIF")


def save(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def tiff_16_bit_colour(values: np.ndarray, *, planes: int = 1) -> bytes:
    """Little-endian uncompressed TIFF, which Pillow itself cannot write; planes=2 stores channels apart."""
    height, width, channels = values.shape
    layers = [values[:, :, each] for each in range(channels)] if planes == 2 else [values]
    strips = [layer.astype("<u2").tobytes() for layer in layers]
    extra = 8 + 2 + 12 * 10 + 4
    offsets = [extra + 64 + sum(map(len, strips[:each])) for each in range(len(strips))]
    tags = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [16] * channels),
        (259, "H", [1]),
        (262, "H", [2]),
        (273, "I", offsets),
        (277, "H", [channels]),
        (278, "I", [height]),
        (279, "I", [len(strip) for strip in strips]),
        (284, "H", [planes]),
    ]
    entries, beyond = b"", b""
    for tag, kind, numbers in tags:
        raw = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(raw) > 4:
            beyond += raw
            raw = struct.pack("<I", extra + len(beyond) - len(raw))
        entries += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + entries + b"\0" * 4 + beyond.ljust(64, b"\0") + b"".join(strips)


def png_16_bit_colour(values: np.ndarray) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def listing_of(names: list[str], **changes: object) -> Listing:
    labels = np.arange(len(names), dtype=np.int64) % 2
    return Listing(**{"source": "made", "classes": ("a", "b"), "names": tuple(names), "labels": labels} | changes)


def noise(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_formats_give_the_colour(tmp_path, extension):
    path = save(tmp_path / f"x.{extension}", Image.new("RGB", (9, 5), RED))
    rgb = decode.read_rgb(path)
    assert rgb.shape == (5, 9, 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - RED).max() <= 3


@pytest.mark.parametrize("extension", ["tif", "bmp", "png"])
def test_lossless_formats_keep_every_pixel(tmp_path, extension):
    pixels = noise(1, 7, 11)
    assert np.array_equal(decode.read_rgb(save(tmp_path / f"x.{extension}", pixels)), pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(tmp_path, compression):
    pixels = noise(2)
    path = save(tmp_path / "x.tif", pixels, compression=compression)
    assert np.array_equal(decode.read_rgb(path), pixels)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("RGB", (4, 4), RED).quantize(4), RED),
        (Image.new("RGBA", (4, 4), (*RED, 255)), RED),
        (Image.new("RGBA", (4, 4), (*RED, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
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


@pytest.mark.parametrize("extension", ["tif", "png"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 32896, 65535], [0, 128, 255]),  # the full 16 bits
        ([0, 2056, 4000], [0, 128, 249]),  # a 12-bit camera
        ([0, 128, 200], [0, 128, 200]),  # 8 bits in a 16-bit file
        ([30000, 40000, 50000], [117, 156, 195]),  # not stretched between its own darkest and brightest
    ],
)
def test_16_bit_grey(tmp_path, extension, values, expected):
    path = save(tmp_path / f"x.{extension}", np.array([values], np.uint16))
    rgb = decode.read_rgb(path)
    assert rgb[0, :, 0].tolist() == expected
    assert (rgb == rgb[:, :, :1]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[-5, 32896, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 32896.0, 65535.0]], np.float32), [0, 128, 255]),
    ],
    ids=["I-8", "I-16", "F-unit", "F-16"],
)
def test_wide_grey_modes(tmp_path, values, expected):
    assert decode.read_rgb(save(tmp_path / "x.tif", values))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 70000]], np.int32), "more than 16 bits"),
        (np.array([[0, np.nan]], np.float32), "not finite"),
    ],
)
def test_grey_beyond_16_bits_is_refused(tmp_path, values, reason):
    with pytest.raises(InputError, match=reason):
        decode.read_rgb(save(tmp_path / "x.tif", values))


@pytest.mark.parametrize("encode", [tiff_16_bit_colour, png_16_bit_colour])
def test_16_bit_colour_keeps_its_upper_byte(tmp_path, encode):
    values = noise(3, 5, 6).astype(np.uint16) * 257
    path = tmp_path / "x.img"
    path.write_bytes(encode(values))
    assert np.array_equal(decode.read_rgb(path), values // 257)


@pytest.mark.parametrize("encode", [tiff_16_bit_colour, png_16_bit_colour])
def test_12_bits_in_16_bit_colour_are_refused(tmp_path, encode):
    path = tmp_path / "x.img"
    path.write_bytes(encode(noise(3).astype(np.uint16) * 16))
    with pytest.raises(InputError, match="lowest 12 bits"):
        decode.read_rgb(path)


def test_16_bit_colour_in_separate_planes_is_refused_not_garbled(tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_16_bit_colour(noise(3).astype(np.uint16) * 257, planes=2))
    with pytest.raises(InputError, match="separate colour planes"):
        decode.read_rgb(path)


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


def test_first_page_of_a_tiff(tmp_path):
    pages = [Image.new("RGB", (4, 4), colour) for colour in (RED, (0, 0, 0))]
    rgb = decode.read_rgb(save(tmp_path / "x.tif", pages[0], save_all=True, append_images=pages[1:]))
    assert (rgb == RED).all()


def truncated(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(4, 64, 64)).save(file, kind)
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.jpg", truncated("JPEG")),
        ("cut.png", truncated("PNG")),
        ("cut.bmp", truncated("BMP")),
        ("cut.tif", truncated("TIFF")),
        ("empty.png", b""),
        ("text.png", b"this is no image\n"),
        ("head.tif", b"II*\0" + b"\xff" * 20),
        ("head.bmp", b"BM" + b"\0" * 60),
        ("animation.png", b"GIF89a" + b"\0" * 40),
    ],
)
def test_damaged_file_is_named_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        decode.read_rgb(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: cannot be read as an image: ")
    assert "\n" not in message
    assert "BytesIO" not in message


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png: cannot be read as an image: No such file"):
        decode.read_rgb(tmp_path / "gone.png")


def test_decompression_bomb_is_a_damaged_image(tmp_path, monkeypatch):
    path = save(tmp_path / "huge.png", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"huge\.png.*decompression bomb"):
        decode.read_rgb(path)


@pytest.mark.parametrize(("height", "width"), [(30, 30), (30, 90), (91, 30), (1, 1), (5, 400)])
@pytest.mark.parametrize("side_px", [1, 8, 30, 77])
def test_resize_gives_the_side(height, width, side_px):
    square = decode.resize_square(noise(5, height, width), side_px)
    assert square.shape == (side_px, side_px, 3)
    assert square.dtype == np.uint8


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


def test_resize_to_own_size_changes_nothing():
    rgb = noise(6)
    assert np.array_equal(decode.resize_square(rgb, 12), rgb)


def test_listing_order_and_sizes(tmp_path):
    names = [f"{number}.png" for number in range(20)]
    for number, name in enumerate(names):
        save(tmp_path / name, np.full((6, 6, 3), number, np.uint8))
    images = decode.decode_listing(tmp_path, listing_of(names[::-1]), [4, 9])
    assert set(images.pixels) == {4, 9}
    for side, pixels in images.pixels.items():
        assert pixels.shape == (20, side, side, 3)
        assert pixels[:, 0, 0, 0].tolist() == list(range(20))[::-1]
        with pytest.raises(ValueError, match="read-only"):
            pixels[0] = 0
    assert not images.labels.flags.writeable


def test_each_file_is_decoded_once(tmp_path, monkeypatch):
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        save(tmp_path / name, noise(7))
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda *given, **options: opened.append(1) or original(*given, **options))
    decode.decode_listing(tmp_path, listing_of(names), [4, 5, 6])
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
    first = decode.decode_listing(here, listing, [4]).fingerprint
    assert (
        decode.decode_listing(there, listing_of(list(listing.names), source="other"), [5, 6]).fingerprint == first
    )
    grouped = listing_of(list(listing.names), groups=np.array([0, 0, 1, 1]))
    relabelled = listing_of(list(listing.names), labels=np.array([0, 0, 1, 1]))
    renamed = listing_of(list(listing.names), classes=("a", "c"))
    save(there / "2.png", noise(99))
    others = [
        decode.decode_listing(here, grouped, [4]).fingerprint,
        decode.decode_listing(here, relabelled, [4]).fingerprint,
        decode.decode_listing(here, renamed, [4]).fingerprint,
        decode.decode_listing(there, listing, [4]).fingerprint,
    ]
    assert len({first, *others}) == 5


def test_damaged_image_stops_or_is_left_out(tmp_path):
    names = make_four(tmp_path / "x")
    groups = np.array([4, 5, 6, 6])
    (tmp_path / "x" / "1.png").write_bytes(b"no image")
    (tmp_path / "x" / "3.png").write_bytes(b"")
    listing = listing_of(names, groups=groups, labels=np.array([0, 1, 2, 0]), classes=("a", "b", "c"))
    with pytest.raises(InputError, match=r"1\.png: cannot be read as an image: .*; --skip-bad leaves such"):
        decode.decode_listing(tmp_path / "x", listing, [4])
    images = decode.decode_listing(tmp_path / "x", listing, [4], skip_bad=True)
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
    rest = decode.decode_listing(tmp_path / "x", listing_of(names[:3]), [4]).fingerprint
    (tmp_path / "x" / "3.png").write_bytes(b"")
    images = decode.decode_listing(tmp_path / "x", listing_of(names), [4], skip_bad=True)
    assert images.fingerprint == rest
