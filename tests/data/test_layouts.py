"""Folders as people have them: each is read as what it is, or refused with the option that settles it."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.common.errors import InputError
from search.data.folder import FolderSource, open_folder
from search.data.layout import parse_layout
from search.data.reading import Reading

CLASSES = ("basophil", "eosinophil", "lymphocyte")


def cell(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(60, 200, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    white = np.zeros((8, 8), np.uint8)
    white[2:6, 2:6] = 255
    Image.fromarray(white).save(path)


def class_folders(folder: Path, n_images: int = 4, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    for number, name in enumerate(classes):
        for image in range(n_images):
            cell(folder / name / f"{image:03d}.png", 1000 * seed + 100 * number + image)
    return folder


def numbered(folder: Path, n_images: int = 12) -> dict[str, str]:
    """Numbered images, and the class of each."""
    classes = {f"{number:03d}.png": CLASSES[number % 3] for number in range(1, n_images + 1)}
    for seed, name in enumerate(classes):
        cell(folder / name, seed)
    return classes


def write(path: Path, *rows: object, header: str) -> None:
    path.write_text("\n".join([header, *map(str, rows)]), encoding="utf-8")


def read(folder: Path, **options: object) -> FolderSource:
    return open_folder(folder, Reading(**options))


def classes_of(source: FolderSource) -> dict[str, str]:
    listing = source.listing
    return {name: listing.classes[label] for name, label in zip(listing.names, listing.labels, strict=True)}


def refusal(folder: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Which column names the images


@pytest.mark.parametrize("header", ["No.,File,Class", ",image,label", "id,stem,label"])
def test_a_running_number_never_decides_between_names(tmp_path, header):
    classes = numbered(tmp_path)
    order = np.random.default_rng(0).permutation(sorted(classes))
    shown = [name.removesuffix(".png") if "stem" in header else name for name in order]
    rows = [f"{k},{name},{classes[file]}" for k, (name, file) in enumerate(zip(shown, order, strict=True), 1)]
    write(tmp_path / "labels.csv", *rows, header=header)
    assert classes_of(read(tmp_path)) == classes


def test_two_columns_of_numbers_that_disagree_are_named(tmp_path):
    classes = numbered(tmp_path)
    rows = [f"{k},{13 - k},{label}" for k, label in enumerate(classes.values(), 1)]
    write(tmp_path / "labels.csv", *rows, header="one,two,label")
    message = refusal(tmp_path)
    assert "'one'" in message
    assert "'two'" in message
    assert classes_of(read(tmp_path, image_column="one")) == classes


def test_file_names_that_are_not_here_are_not_replaced_by_a_number(tmp_path):
    classes = numbered(tmp_path)
    rows = [f"{k},cell_{k}.png,{label}" for k, label in enumerate(classes.values(), 1)]
    write(tmp_path / "labels.csv", *rows, header="No.,file,label")
    message = refusal(tmp_path)
    assert "'file'" in message
    assert "'No.'" in message
    assert classes_of(read(tmp_path, image_column="No.")) == classes


def test_a_path_of_another_folder_is_not_matched_by_its_name(tmp_path):
    classes = numbered(tmp_path / "test")
    write(tmp_path / "labels.csv", *(f"train/{n},{c}" for n, c in classes.items()), header="file,label")
    refusal(tmp_path, layout="table")


def test_paths_may_begin_with_folders_of_another_machine(tmp_path):
    classes = numbered(tmp_path / "images")
    rows = [f"D:\\scan\\images\\{name},{label}" for name, label in classes.items()]
    write(tmp_path / "labels.csv", *rows, header="file,label")
    assert classes_of(read(tmp_path)) == {f"images/{name}": label for name, label in classes.items()}


# Which level holds the classes


@pytest.mark.parametrize(
    ("tops", "layout"),
    [
        (("train", "val", "test"), "split/class"),
        (("fold_0", "fold_1", "fold_2"), "split/class"),
        (("patient_00/signed", "patient_01/signed"), "group/*/class"),
        (("lab A", "lab B"), "group/class"),
    ],
)
def test_classes_below_other_folders_are_read_only_if_the_user_says_so(tmp_path, tops, layout):
    for seed, top in enumerate(tops):
        class_folders(tmp_path / top, seed=seed)
    message = refusal(tmp_path)
    assert f"--layout {layout}" in message
    listing = read(tmp_path, layout=layout).listing
    assert listing.classes == CLASSES
    assert len(listing.names) == 12 * len(tops)
    given = listing.parts if layout.startswith("split") else listing.groups
    assert len(set(given)) == len(tops)


def test_numbered_folders_with_classes_below_are_refused_even_if_they_share_none(tmp_path):
    for number, name in enumerate(CLASSES):
        class_folders(tmp_path / f"P{number}", classes=(name,), seed=number)
    assert "--layout group/class" in refusal(tmp_path)
    assert read(tmp_path, layout="group/class").listing.classes == CLASSES
    assert read(tmp_path, layout="class").listing.classes == ("p0", "p1", "p2")


def test_folders_of_parts_are_refused_even_without_classes_below(tmp_path):
    class_folders(tmp_path, classes=("train", "test"))
    assert "train" in refusal(tmp_path)
    assert read(tmp_path, layout="class").listing.classes == ("test", "train")


def test_the_parent_of_data_sets_is_refused(tmp_path):
    class_folders(tmp_path / "one")
    class_folders(tmp_path / "two", classes=("Basophil", "monocyte"), seed=1)
    assert "data set" in refusal(tmp_path)
    numbered(tmp_path / "three")
    write(tmp_path / "three" / "labels.csv", header="file,label")
    assert "three" in refusal(tmp_path)


@pytest.mark.parametrize("inside", [True, False])
def test_a_table_for_each_part(tmp_path, inside):
    for part in ("train", "test"):
        classes = numbered(tmp_path / part)
        table = tmp_path / part / "metadata.csv" if inside else tmp_path / f"{part}.csv"
        write(table, *(f"{name},{label}" for name, label in classes.items()), header="file_name,label")
    assert "--layout split/table" in refusal(tmp_path)
    source = read(tmp_path, layout="split/table")
    assert len(source.listing.names) == 24
    assert set(source.listing.parts) == {"train", "test"}
    assert classes_of(source)["test/001.png"] == CLASSES[1]


@pytest.mark.parametrize("text", ["", "class/class", "split", "table/class", "class/table", "split//class"])
def test_layouts_that_mean_nothing_are_refused(text):
    with pytest.raises(InputError, match="--layout"):
        parse_layout(text)


# Tables beside class folders


def patients(folder: Path) -> Path:
    class_folders(folder)
    rows = [f"{name}/{k:03d}.png,P{k % 2},lab {k // 2}" for name in CLASSES for k in range(4)]
    write(folder / "patients.csv", *rows, header="file,patient,laboratory")
    return folder


def test_a_table_beside_class_folders_gives_groups_and_folds(tmp_path):
    listing = read(patients(tmp_path)).listing
    assert listing.groups is None
    assert any("patient" in note for note in listing.notes)
    listing = read(tmp_path, groups="patient", folds_by="laboratory").listing
    assert listing.classes == CLASSES
    assert listing.groups.tolist() == [0, 1, 0, 1] * 3
    assert listing.fold_names == ("lab 0", "lab 0", "lab 1", "lab 1") * 3


def test_groups_from_a_file(tmp_path):
    class_folders(tmp_path / "cells")
    write(tmp_path / "groups.csv", "basophil/000.png,7", "eosinophil/000.png,7", header="file_name,group")
    groups = read(tmp_path / "cells", groups=str(tmp_path / "groups.csv")).listing.groups
    assert groups[0] == groups[4]
    assert len(np.unique(groups)) == 11


def test_labels_of_folder_and_table_that_differ_are_refused(tmp_path):
    class_folders(tmp_path)
    rows = [
        f"{name}/{k:03d}.png,{CLASSES[(number + (k == 3)) % 3]}"
        for number, name in enumerate(CLASSES)
        for k in range(4)
    ]
    write(tmp_path / "labels.csv", *rows, header="file,label")
    message = refusal(tmp_path)
    assert "basophil/003.png" in message
    assert "eosinophil" in message
    assert read(tmp_path, layout="class").listing.class_counts().tolist() == [4, 4, 4]
    assert classes_of(read(tmp_path, layout="table"))["basophil/003.png"] == "eosinophil"


def test_images_in_one_folder_beside_their_table(tmp_path):
    classes = numbered(tmp_path / "images")
    write(tmp_path / "labels.csv", *(f"images/{n},{c}" for n, c in classes.items()), header="filename,label")
    assert classes_of(read(tmp_path)) == {f"images/{name}": label for name, label in classes.items()}


# Labels


@pytest.mark.parametrize("mark", ["nan", "NA", "N/A", "?", "-", "None", ""])
def test_marks_of_a_missing_label_are_no_class(tmp_path, mark):
    classes = numbered(tmp_path) | {"001.png": mark}
    write(tmp_path / "labels.csv", *(f"{n},{c}" for n, c in classes.items()), header="file,label")
    listing = read(tmp_path).listing
    assert listing.classes == CLASSES
    assert len(listing.names) == 11
    assert any("001.png" in note for note in listing.notes)


def test_several_labels_in_a_cell_are_refused(tmp_path):
    classes = numbered(tmp_path) | {"004.png": "BASOPHIL; eosinophil"}
    write(tmp_path / "labels.csv", *(f'{n},"{c}"' for n, c in classes.items()), header="file,label")
    assert "004.png" in refusal(tmp_path)


def test_a_class_name_may_hold_a_separator(tmp_path):
    classes = {name: label.replace("basophil", "band/segmented") for name, label in numbered(tmp_path).items()}
    write(tmp_path / "labels.csv", *(f"{n},{c}" for n, c in classes.items()), header="file,label")
    assert "band/segmented" in read(tmp_path).listing.classes


@pytest.mark.parametrize("above", ["# exported 2024", "Exported by the scanner", "# a, b, c"])
def test_a_line_above_the_table_is_passed_over(tmp_path, above):
    classes = numbered(tmp_path)
    rows = [f"{n},{c},1,2" for n, c in classes.items()]
    write(tmp_path / "labels.csv", "file,label,x,y", *rows, header=above)
    source = read(tmp_path)
    assert classes_of(source) == classes
    assert any(above.split(",")[0] in note for note in source.listing.notes)


def test_json_lines(tmp_path):
    classes = numbered(tmp_path)
    rows = [f'{{"file_name": "{name}", "label": "{label}"}}' for name, label in classes.items()]
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    assert classes_of(read(tmp_path)) == classes


# Masks, names and files


@pytest.mark.parametrize("name", ["masks/{}.png", "{}_mask.png", "mask_{}.png"])
def test_masks_are_refused_and_can_be_left_out(tmp_path, name):
    class_folders(tmp_path)
    for file in sorted(tmp_path.rglob("*.png")):
        mask(file.parent / name.format(file.stem))
    message = refusal(tmp_path)
    pattern = message.split("--exclude '")[1].split("'")[0]
    assert len(read(tmp_path, exclude=pattern).listing.names) == 12


def test_masks_in_a_tree_of_their_own_are_refused(tmp_path):
    class_folders(tmp_path / "images")
    for file in sorted(tmp_path.rglob("*.png")):
        mask(tmp_path / "masks" / file.relative_to(tmp_path / "images"))
    assert "--exclude 'masks/*'" in refusal(tmp_path, layout="group/class")
    assert len(read(tmp_path, layout="group/class", exclude="masks/*").listing.names) == 12


def test_paired_names_that_are_no_masks_are_noted(tmp_path):
    class_folders(tmp_path)
    for seed, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        cell(file.with_name(f"{file.stem}_turned.png"), 500 + seed)
    listing = read(tmp_path).listing
    assert len(listing.names) == 24
    assert any("_turned" in note for note in listing.notes)


def test_a_pattern_and_no_image_is_refused(tmp_path):
    assert "no images" in refusal(tmp_path, exclude="*_mask*")


def test_a_pattern_that_leaves_nothing_out_is_refused(tmp_path):
    assert "--exclude" in refusal(class_folders(tmp_path), exclude="*_mask*")


def test_accents_of_two_kinds_are_one_name(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "eosinófilo") for form in ("NFC", "NFD"))
    class_folders(tmp_path / "folders", classes=("basophil", composed))
    class_folders(tmp_path / "folders", classes=(decomposed,), seed=1)
    assert read(tmp_path / "folders").listing.classes == ("basophil", composed)
    names = [f"célula_{k}.png" for k in range(6)]
    for seed, name in enumerate(names):
        cell(tmp_path / "table" / unicodedata.normalize("NFD", name), seed)
    rows = [f"{name},{CLASSES[k % 3]}" for k, name in enumerate(names)]
    write(tmp_path / "table" / "labels.csv", *rows, header="image,label")
    assert len(read(tmp_path / "table").listing.names) == 6


def test_a_name_that_is_no_text_is_refused(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "basophil").rename(os.fsdecode(os.fsencode(tmp_path) + b"/bas\xf3filo"))
    assert r"bas\xf3filo" in refusal(tmp_path)


def test_a_pipe_is_never_opened(tmp_path):
    class_folders(tmp_path)
    os.mkfifo(tmp_path / "basophil" / "pipe.png")
    source = read(tmp_path)
    assert any("pipe.png" in note for note in source.listing.notes)
    assert len(source.decode([4]).names) == 12
