import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.common.errors import InputError
from search.data.folder import FolderSource, open_folder
from search.data.imageset import Source

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
    with pytest.raises(InputError) as caught:
        open_folder(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A folder per class


def test_sub_folders_are_classes(tmp_path):
    folder = images(tmp_path, "Basophil/2.png", "basophil/1.JPG", "Monocyte/slide 1/a.tif", "monocyte/b.bmp")
    source = open_folder(folder)
    as_source: Source = source
    listing = as_source.listing
    assert listing.source == tmp_path.name
    assert listing.classes == ("basophil", "monocyte")
    assert listing.names == ("Basophil/2.png", "Monocyte/slide 1/a.tif", "basophil/1.JPG", "monocyte/b.bmp")
    assert listing.labels.tolist() == [0, 1, 0, 1]
    assert listing.labels.dtype == np.int64
    assert listing.groups is None
    assert listing.notes == ()


def test_class_names_rename_and_merge_sub_folders(tmp_path):
    folder = images(tmp_path, "Band/1.png", "seg/2.png", "mono/3.png", "mono/4.png")
    source = open_folder(folder, class_names={"band": "Neutrophil", "SEG": "neutrophil", "1": "basophil"})
    assert source.listing.classes == ("mono", "neutrophil")
    assert source.listing.class_counts().tolist() == [2, 2]


def test_other_files_are_passed_over(tmp_path):
    folder = images(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "stray.png", "a/.hidden.png")
    for name in (".DS_Store", "a/Thumbs.db", "README.md", "LICENSE", "a/x.gif", "b/y.GIF", "sheet.xlsx"):
        (folder / name).write_bytes(b"x")
    (folder / "c").mkdir()
    listing = open_folder(folder).listing
    assert len(listing.names) == 4
    assert listing.notes == (
        "left out 1 images outside the class folders: stray.png",
        "folders without images: c",
        "passed over files that are no images: .gif (2), .xlsx (1)",
    )


def test_linked_folders_are_read_and_circles_left(tmp_path):
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


def test_numbers_get_class_names(tmp_path):
    source = open_folder(flat(tmp_path, TABLE), class_names=CELLS)
    assert source.listing.classes == ("lymphocyte", "neutrophil")
    assert class_by_name(source)["001.bmp"] == "lymphocyte"


def test_missing_class_name_is_named(tmp_path):
    message = failure(flat(tmp_path, TABLE.replace("4,1", "4,7")), class_names=CELLS)
    assert "labels.csv: label '7' has no class name" in message


@pytest.mark.parametrize("names", [None, {"3": "mono", "5": "baso"}])
def test_label_column_is_found_among_others(tmp_path, names):
    header = "id,patient,class" if names is None else "id,patient,what"
    table = f"{header}\n1,1,3\n2,1,5\n3,2,3\n4,2,5\n"
    listing = open_folder(flat(tmp_path, table), class_names=names).listing
    assert listing.labels.tolist() == [0, 1, 0, 1] if names is None else [1, 0, 1, 0]
    assert listing.notes == (f"labels.csv: images by column 'id', labels from column '{header.split(',')[2]}'",)


def test_label_column_that_repeats_is_taken(tmp_path):
    table = "id,area,cell\n1,10.5,b\n2,11.5,a\n3,12.5,b\n4,13.5,a\n"
    assert open_folder(flat(tmp_path, table)).listing.labels.tolist() == [1, 0, 1, 0]


def test_unclear_label_column_is_asked_for(tmp_path):
    message = failure(flat(tmp_path, "id,cell,sex\n1,b,m\n2,a,m\n3,b,f\n4,a,f\n"))
    assert "which column holds the labels: cell, sex?" in message


def test_rows_and_images_without_partner_are_noted(tmp_path):
    table = TABLE + "".join(f"{number},1\n" for number in range(50, 58)) + "6,\n"
    names = ("001.bmp", "002.bmp", "003.bmp", "004.bmp", "005.bmp", "006.bmp")
    listing = open_folder(flat(tmp_path, table, *names)).listing
    assert len(listing.names) == 4
    assert listing.notes == (
        "labels.csv: 8 rows without an image: 50, 51, 52, 53, 54, ...",
        "left out 2 images without a label: 005.bmp, 006.bmp",
    )


def test_same_row_twice_is_no_contradiction(tmp_path):
    assert len(open_folder(flat(tmp_path, TABLE + "001.bmp,2\n")).listing.names) == 4


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (TABLE + "001,1\n", "labels.csv: '001' stands there twice and differs: 2 and 1"),
        (
            "id,label\nw,1\nx,2\ny,1\nz,2\n",
            "labels.csv: no column names the images beside it; columns: id, label",
        ),
        (
            "001.bmp,2\n002.bmp,1\n003.bmp,2\n004.bmp,1\n",
            "must name the columns, but holds the image '001.bmp'",
        ),
        ("id,label\n", "labels.csv: holds no labels"),
        ("", "labels.csv: holds no labels"),
        ("id\n1\n2\n3\n4\n", "labels.csv: no column of labels beside 'id'"),
        ("id,label\n1,2\n2,1,9\n", "labels.csv: the row of '2' has more cells than the 2 columns"),
        ("id,label,label\n1,2,2\n", "labels.csv: two columns are named 'label'"),
        ("id,label\n1,\n2,1\n3,1\n4,1\n", "only one class, '1'; at least two are needed"),
        ("id,label\n1,\n2,\n", "labels.csv: no column of labels beside 'id'"),
    ],
)
def test_bad_label_files_are_named(tmp_path, table, expected):
    assert expected in failure(flat(tmp_path, table))


@pytest.mark.parametrize("others", [("1.bmp",), ("001.png",), ("001.BMP",)])
def test_two_files_for_one_id(tmp_path, others):
    names = ("001.bmp", "002.bmp", "003.bmp", "004.bmp", *others)
    message = failure(flat(tmp_path, TABLE, *names))
    assert "'1' could be any of" in message
    assert "001.bmp" in message
    assert others[0] in message


def test_whole_file_name_decides_between_two_files(tmp_path):
    table = "id,label\n001.bmp,a\n002.bmp,b\n003.bmp,a\n004.bmp,b\n"
    names = ("001.bmp", "002.bmp", "003.bmp", "004.bmp", "001.png")
    listing = open_folder(flat(tmp_path, table, *names)).listing
    assert listing.names == names[:4]
    assert listing.notes == ("left out 1 images without a label: 001.png",)


def test_two_label_files(tmp_path):
    flat(tmp_path, TABLE)
    message = failure(flat(tmp_path, TABLE, table_name="more.csv"))
    assert "labels.csv" in message
    assert "more.csv" in message


def test_label_file_and_sub_folders_together(tmp_path):
    message = failure(images(flat(tmp_path, TABLE), "masks/001.png"))
    assert "labels.csv" in message
    assert "masks" in message


# What cannot be used


def test_missing_folder(tmp_path):
    assert failure(tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"


def test_a_file_is_no_folder(tmp_path):
    image(tmp_path / "x.png")
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
        ((), "no images (.tif .tiff .bmp .png .jpg .jpeg)"),
        (("1.png", "2.png"), "images without labels: no CSV file beside them, no sub-folder per class"),
        (("x/1.png", "X/2.png"), "only one class, 'x'; at least two are needed"),
        (("x/1.png", "x/2.png", "y/1.png"), "fewer than two classes with two images each: x (2), y (1)"),
    ],
)
def test_too_little_to_learn_from(tmp_path, names, expected):
    assert failure(images(tmp_path, *names)) == f"{tmp_path}: {expected}"


def test_a_class_with_one_image_is_let_in(tmp_path):
    listing = open_folder(images(tmp_path, "x/1.png", "x/2.png", "y/1.png", "y/2.png", "z/1.png")).listing
    assert listing.class_counts().tolist() == [2, 2, 1]


# Groups

GROUPED = "id,patient,label\n1,p2,a\n2,p1,b\n3,p2,a\n4,p1,b\n"


def test_groups_from_a_column(tmp_path):
    listing = open_folder(flat(tmp_path, GROUPED), groups="patient").listing
    assert listing.groups.tolist() == [1, 0, 1, 0]
    assert listing.groups.dtype == np.int64


def test_groups_column_is_never_the_label(tmp_path):
    table = GROUPED.replace("label", "cell")
    assert "which column" in failure(flat(tmp_path, table))
    assert open_folder(flat(tmp_path, table), groups="patient").listing.classes == ("a", "b")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(r"/(\d+)_", [0, 0, 1, 1]), (r"\d+", [0, 0, 1, 1]), (r"(?:_)(\w)\.", [0, 1, 0, 1])],
)
def test_groups_from_names(tmp_path, pattern, expected):
    folder = images(tmp_path, "a/07_x.png", "a/07_y.png", "b/12_x.png", "b/12_y.png")
    assert open_folder(folder, groups=pattern).listing.groups.tolist() == expected


def test_image_without_group_is_named(tmp_path):
    folder = images(tmp_path, "a/07_x.png", "a/other.png", "b/12_x.png", "b/12_y.png")
    message = failure(folder, groups=r"(\d+)_")
    assert message == f"{folder / 'a' / 'other.png'}: belongs to no group by '(\\d+)_'"


def test_empty_cell_of_the_groups_column_is_named(tmp_path):
    message = failure(flat(tmp_path, GROUPED.replace("3,p2", "3,")), groups="patient")
    assert message == f"{tmp_path / '003.bmp'}: belongs to no group by 'patient'"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("slide", r"its columns are id, patient, label\), and as a regular expression it matches no image"),
        ("(", r"its columns are id, patient, label\) and no valid regular expression"),
    ],
)
def test_neither_column_nor_pattern(tmp_path, groups, expected):
    assert re.search(expected, failure(flat(tmp_path, GROUPED), groups=groups))


def test_pattern_without_label_file(tmp_path):
    folder = images(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    message = failure(folder, groups="patient")
    assert "no column of the label file (there is none), and as a regular expression it matches no" in message


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
    with pytest.raises(InputError, match=r"2\.png: cannot be read as an image: the file is empty; --skip-bad"):
        source.decode([4])
    got = source.decode([4], skip_bad=True)
    assert got.names == ("a/1.png", "a/3.png", "b/1.png", "b/2.png")
    assert any("a/2.png" in note for note in got.notes)
    (folder / "b" / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"fewer than two classes with two images each: a \(2\), b \(1\)"):
        source.decode([4], skip_bad=True)


def test_broken_link_is_a_damaged_image(tmp_path):
    folder = images(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (folder / "b" / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"3\.png: cannot be read as an image: No such file"):
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
        pytest.skip(f"real images {name} are not there: expected in ../shared/data beside the repository")
    source = open_folder(REAL / name, class_names=class_names)
    expected = dict(zip(CELLS.values(), counts, strict=True))
    listing = source.listing
    assert listing.source == name
    assert dict(zip(listing.classes, listing.class_counts().tolist(), strict=True)) == expected
    assert listing.notes == ()
    pixels = source.decode([16]).pixels[16]
    assert len(pixels) == sum(counts)
    assert pixels.std(axis=(1, 2, 3)).min() > 5  # no image came out blank
