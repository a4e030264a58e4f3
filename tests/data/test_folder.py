import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.common.errors import InputError
from search.data.folder import FolderSource, open_folder
from search.data.reading import Reading

REAL = Path(__file__).parents[3] / "shared" / "data"
CELLS = dict(zip("12345", ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"), strict=True))


def image(path: Path, shade: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), (shade, shade, shade)).save(path)


def images(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        image(folder / name, number)
    return folder


def flat(folder: Path, table: str | bytes, *names: str, table_name: str = "labels.csv") -> Path:
    images(folder, *(names or ("001.bmp", "002.bmp", "003.bmp", "004.bmp")))
    (folder / table_name).write_bytes(table if isinstance(table, bytes) else table.encode())
    return folder


def class_by_name(source: FolderSource) -> dict[str, str]:
    listing = source.listing
    return {name: listing.classes[label] for name, label in zip(listing.names, listing.labels, strict=True)}


def failure(folder: Path, **options: object) -> str:
    """The one line with which a folder is refused; it starts with the folder or a file in it."""
    with pytest.raises(InputError) as caught:
        open_folder(folder, Reading(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A folder per class


def test_sub_folders_are_classes(tmp_path):
    folder = images(tmp_path, "Basophil/2.png", "basophil/1.JPG", "Monocyte/slide 1/a.tif", "monocyte/b.bmp")
    listing = open_folder(folder).listing
    assert listing.source == tmp_path.name
    assert listing.classes == ("basophil", "monocyte")
    assert listing.names == ("Basophil/2.png", "Monocyte/slide 1/a.tif", "basophil/1.JPG", "monocyte/b.bmp")
    assert listing.labels.tolist() == [0, 1, 0, 1]
    assert listing.labels.dtype == np.int64
    assert listing.groups is None
    (note,) = listing.notes  # on what is below the classes
    assert "slide 1" in note


def test_class_names_rename_and_merge_sub_folders(tmp_path):
    folder = images(tmp_path, "Band/1.png", "seg/2.png", "mono/3.png", "mono/4.png")
    source = open_folder(folder, Reading(class_names={"band": "Neutrophil", "SEG": "neutrophil", "1": "basophil"}))
    assert source.listing.classes == ("mono", "neutrophil")
    assert source.listing.class_counts().tolist() == [2, 2]


def test_other_files_are_ignored_and_the_odd_ones_noted(tmp_path):
    folder = images(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "stray.png", "a/.hidden.png")
    for name in (".DS_Store", "a/Thumbs.db", "README.md", "LICENSE", "a/x.gif", "b/y.GIF", "sheet.xlsx"):
        (folder / name).write_bytes(b"x")
    (folder / "c").mkdir()
    listing = open_folder(folder).listing
    assert len(listing.names) == 4
    assert len(listing.notes) == 3
    for note, culprits in zip(
        listing.notes, ("1 image", "folders without images: c", ".gif (2), .xlsx (1)"), strict=True
    ):
        assert culprits in note


def test_linked_folders_are_read_but_not_in_circles(tmp_path):
    images(tmp_path / "store", "1.png", "2.png")
    folder = images(tmp_path / "set", "b/1.png", "b/2.png")
    (folder / "a").symlink_to(tmp_path / "store", target_is_directory=True)
    (folder / "b" / "circle").symlink_to(folder, target_is_directory=True)
    assert open_folder(folder).listing.names == ("a/1.png", "a/2.png", "b/1.png", "b/2.png")


# A flat folder with a label file

TABLE = "image ID,class label\n1,2\n2,1\n3,2\n4,1\n"
EXPECTED = {"001.bmp": "2", "002.bmp": "1", "003.bmp": "2", "004.bmp": "1"}


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.encode("utf-8-sig"),
        TABLE.encode("utf-16"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", " , "),
        TABLE + "\n,\n\n",
        "image ID,class label,\n1,2,\n2,1,\n3,2,\n4,1,\n",
        "class label,image ID\n2,001\n1,002\n2,003\n1,004\n",
        "class label,file\n2,001.bmp\n1,002.BMP\n2,003.tif\n1,images/004.bmp\n",
        "x,y\n1.0,2.0\n2.0,1.0\n3.0,2.0\n4.0,1.0\n",
        '"image ID","class label"\n"1","2"\n"2","1"\n"3","2"\n"4","1"\n',
        TABLE.replace("image ID", "Präparat").encode("latin-1"),
    ],
)
def test_label_files_of_many_kinds(tmp_path, table):
    source = open_folder(flat(tmp_path, table))
    assert class_by_name(source) == EXPECTED
    assert source.listing.notes == ()


def test_tsv_and_text_ids(tmp_path):
    table = "cell\tkind\ncell_b\tMono\ncell_a\tbaso\nX9\tmono\n007x\tbaso\n"
    names = ("cell_a.png", "cell_b.png", "x9.tif", "007x.png")
    source = open_folder(flat(tmp_path, table, *names, table_name="labels.TSV"))
    assert class_by_name(source) == {
        "cell_a.png": "baso",
        "cell_b.png": "mono",
        "x9.tif": "mono",
        "007x.png": "baso",
    }


def test_numbers_get_class_names_and_every_label_needs_one(tmp_path):
    source = open_folder(flat(tmp_path, TABLE), Reading(class_names=CELLS))
    assert class_by_name(source)["001.bmp"] == "lymphocyte"
    message = failure(flat(tmp_path, TABLE.replace("4,1", "4,7")), class_names=CELLS)
    assert "labels.csv: label '7'" in message


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("id,patient,class", {}),  # the header says it
        ("id,patient,what", {"class_names": {"3": "a", "5": "b"}}),  # all its labels have class names
        ("id,area,cell", {}),  # its values repeat
        ("id,patient,cell", {"groups": "patient"}),  # the other column is the groups
    ],
)
def test_the_label_column_is_found_among_others(tmp_path, header, options):
    others = ("10.5", "11.5", "12.5", "13.5") if "area" in header else ("1", "1", "2", "2")
    rows = [f"{k},{other},{label}" for k, other, label in zip("1234", others, "3535", strict=True)]
    listing = open_folder(flat(tmp_path, "\n".join([header, *rows])), Reading(**options)).listing
    assert listing.labels.tolist() == [0, 1, 0, 1]
    note = listing.notes[0]
    assert "'id'" in note
    assert f"'{header.split(',')[2]}'" in note


def test_an_unclear_label_column_is_asked_for(tmp_path):
    message = failure(flat(tmp_path, "id,cell,sex\n1,b,m\n2,a,m\n3,b,f\n4,a,f\n"))
    assert "cell, sex" in message
    assert "--label-column" in message


def test_rows_and_images_without_partner_are_noted(tmp_path):
    table = TABLE + "".join(f"{number},1\n" for number in range(50, 58)) + "6,\n"
    names = ("001.bmp", "002.bmp", "003.bmp", "004.bmp", "005.bmp", "006.bmp")
    listing = open_folder(flat(tmp_path, table, *names)).listing
    assert len(listing.names) == 4
    assert len(listing.notes) == 2
    assert "8 rows without an image: 50, 51, 52, 53, 54, ..." in listing.notes[0]
    assert "005.bmp, 006.bmp" in listing.notes[1]


def test_the_same_row_twice_is_accepted(tmp_path):
    assert len(open_folder(flat(tmp_path, TABLE + "001.bmp,2\n")).listing.names) == 4


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (TABLE + "001,1\n", "'001'"),
        ("id,label\nw,1\nx,2\ny,1\nz,2\n", "columns: id, label"),
        ("001.bmp,2\n002.bmp,1\n003.bmp,2\n004.bmp,1\n", "'001.bmp'"),
        ("id,label\n", "no labels"),
        ("", "no labels"),
        ("id\n1\n2\n3\n4\n", "'id'"),
        ("id,label\n1,2\n2,1,9\n", "'2'"),
        ("id,label,label\n1,2,2\n", "'label'"),
        ("id,label\n1,\n2,\n", "'id'"),
    ],
)
def test_bad_label_files_are_named(tmp_path, table, expected):
    message = failure(flat(tmp_path, table))
    assert message.startswith(f"{tmp_path / 'labels.csv'}: ")
    assert expected in message


@pytest.mark.parametrize("other", ["1.bmp", "001.png", "001.BMP"])
def test_two_files_with_the_same_identifier_are_named(tmp_path, other):
    message = failure(flat(tmp_path, TABLE, "001.bmp", "002.bmp", "003.bmp", "004.bmp", other))
    assert "001.bmp" in message
    assert other in message


def test_whole_file_name_decides_between_two_files(tmp_path):
    table = "id,label\n001.bmp,a\n002.bmp,b\n003.bmp,a\n004.bmp,b\n"
    names = ("001.bmp", "002.bmp", "003.bmp", "004.bmp", "001.png")
    listing = open_folder(flat(tmp_path, table, *names)).listing
    assert listing.names == names[:4]
    assert listing.notes == ("left out 1 image without a label: 001.png",)


def test_what_belongs_to_neither_layout_is_named(tmp_path):
    message = failure(images(flat(tmp_path / "a", TABLE), "masks/001.png"))
    assert "labels.csv" in message
    assert "masks" in message
    flat(tmp_path / "b", TABLE)
    message = failure(flat(tmp_path / "b", TABLE, table_name="more.csv"))
    assert "labels.csv, more.csv" in message


# What cannot be used


def test_a_missing_folder_and_a_file_are_named(tmp_path):
    image(tmp_path / "x.png")
    assert failure(tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"
    assert failure(tmp_path / "x.png") == f"{tmp_path / 'x.png'}: not a folder"


def test_folder_that_may_not_be_read(tmp_path, monkeypatch):
    folder = images(tmp_path, "a/1.png", "b/1.png")
    original = os.scandir

    def refuse(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert failure(folder) == f"{folder / 'b'}: cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "no images"),
        (("1.png", "2.png"), "without labels"),
        (("x/1.png", "X/2.png"), "only one class, 'x'"),
        (("x/1.png", "x/2.png", "y/1.png"), "x (2), y (1)"),
    ],
)
def test_too_little_to_learn_from(tmp_path, names, expected):
    message = failure(images(tmp_path, *names))
    assert message.startswith(f"{tmp_path}: ")
    assert expected in message


def test_a_third_class_may_have_one_image(tmp_path):
    listing = open_folder(images(tmp_path, "x/1.png", "x/2.png", "y/1.png", "y/2.png", "z/1.png")).listing
    assert listing.class_counts().tolist() == [2, 2, 1]


# Groups

GROUPED = "id,patient,label\n1,p2,a\n2,p1,b\n3,p2,a\n4,p1,b\n"


def test_groups_from_a_column(tmp_path):
    listing = open_folder(flat(tmp_path, GROUPED), Reading(groups="patient")).listing
    assert listing.groups.tolist() == [1, 0, 1, 0]
    assert listing.groups.dtype == np.int64


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(r"/(\d+)_", [0, 0, 1, 1]), (r"\d+", [0, 0, 1, 1]), (r"(?:_)(\w)\.", [0, 1, 0, 1])],
)
def test_groups_from_names(tmp_path, pattern, expected):
    folder = images(tmp_path, "a/07_x.png", "a/07_y.png", "b/12_x.png", "b/12_y.png")
    assert open_folder(folder, Reading(groups=pattern)).listing.groups.tolist() == expected


def test_an_image_without_a_group_is_named(tmp_path):
    folder = images(tmp_path / "a", "a/07_x.png", "a/other.png", "b/12_x.png", "b/12_y.png")
    assert failure(folder, groups=r"(\d+)_").startswith(f"{folder / 'a' / 'other.png'}: ")
    folder = flat(tmp_path / "b", GROUPED.replace("3,p2", "3,"))
    assert failure(folder, groups="patient").startswith(f"{folder / '003.bmp'}: ")


@pytest.mark.parametrize("groups", ["slide", "("])
def test_neither_column_nor_pattern(tmp_path, groups):
    message = failure(flat(tmp_path / "a", GROUPED), groups=groups)
    assert f"--groups '{groups}'" in message
    assert "id, patient, label" in message
    folder = images(tmp_path / "b", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    assert f"--groups '{groups}'" in failure(folder, groups=groups)


# Decoding


def test_decode_gives_pixels_in_listing_order(tmp_path):
    folder = images(tmp_path, "b/2.png", "a/1.png", "a/2.png", "b/1.png")
    got = open_folder(folder).decode([3, 6])
    assert got.names == ("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    assert got.pixels[3][:, 0, 0, 0].tolist() == got.pixels[6][:, 5, 5, 2].tolist() == [1, 2, 3, 0]


def test_skip_bad_leaves_enough_or_stops(tmp_path):
    folder = images(tmp_path, "a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png")
    (folder / "a" / "2.png").write_bytes(b"")
    source = open_folder(folder)
    with pytest.raises(InputError, match=r"2\.png: .*--skip-bad"):
        source.decode([4])
    got = source.decode([4], skip_bad=True)
    assert got.names == ("a/1.png", "a/3.png", "b/1.png", "b/2.png")
    assert any("a/2.png" in note for note in got.notes)
    (folder / "b" / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a \(2\), b \(1\)"):
        source.decode([4], skip_bad=True)


def test_a_broken_link_is_a_damaged_image(tmp_path):
    folder = images(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (folder / "b" / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"3\.png: "):
        open_folder(folder).decode([4])


# Real images


@pytest.mark.parametrize(
    ("name", "counts", "class_names"),
    [
        ("pbc2172", (1410, 540, 120, 72, 30), None),
        ("lisc255", (53, 55, 53, 39, 55), None),
        ("jtsc300", (176, 53, 48, 22, 1), CELLS),
        ("bccd351", (207, 33, 20, 88, 3), None),
    ],
)
def test_real_folders(name, counts, class_names):
    if not (REAL / name).is_dir():
        pytest.skip(f"no real images {name} in ../shared/data next to the repository")
    source = open_folder(REAL / name, Reading(class_names=class_names))
    expected = dict(zip(CELLS.values(), counts, strict=True))
    listing = source.listing
    assert listing.source == name
    assert dict(zip(listing.classes, listing.class_counts().tolist(), strict=True)) == expected
    assert listing.notes == ()
    pixels = source.decode([16]).pixels[16]
    assert len(pixels) == sum(counts)
    assert pixels.std(axis=(1, 2, 3)).min() > 5  # no image came out blank
