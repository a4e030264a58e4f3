"""Arrays of images become the same source that a folder of these images would be."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from search.common.errors import InputError
from search.data.arrays import open_arrays
from search.data.decode import resize_square
from search.data.reading import Reading
from search.data.sources import open_source

SIZES = {"train": 7, "val": 3, "test": 4}


def arrays(seed=0, *, shape=(9, 11, 3), n_classes=3, **changes):
    """Arrays as MedMNIST names and shapes them; a change of None leaves one out."""
    random = np.random.default_rng(seed)
    made = {}
    for part, n_images in SIZES.items():
        made[f"{part}_images"] = random.integers(0, 256, (n_images, *shape), np.uint8)
        made[f"{part}_labels"] = (np.arange(n_images) % n_classes)[:, None]
    made |= changes
    return {name: array for name, array in made.items() if array is not None}


def saved(path, made, save=np.savez_compressed):
    save(path, **made)
    return path


def failure(path, **options):
    with pytest.raises(InputError) as caught:
        open_arrays(path, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 3), (12, 12)])
def test_every_image_keeps_its_label_part_and_pixels(tmp_path, save, shape):
    made = arrays(shape=shape)
    source = open_arrays(saved(tmp_path / "cells.npz", made, save))
    listing = source.listing
    assert listing.source == "cells"
    assert listing.classes == ("0", "1", "2")
    assert listing.names[:1] + listing.names[6:8] + listing.names[-1:] == (
        "train/000000",
        "train/000006",
        "val/000000",
        "test/000003",
    )
    assert listing.parts == tuple(name.split("/")[0] for name in listing.names)
    assert listing.labels.tolist() == np.concatenate([made[f"{part}_labels"][:, 0] for part in SIZES]).tolist()
    assert listing.groups is None
    images = source.decode([8, 5])
    assert images.names == listing.names
    assert images.parts == listing.parts
    for index, name in enumerate(listing.names):
        part, number = name.split("/")
        image = made[f"{part}_images"][int(number)]
        rgb = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image
        assert np.array_equal(source.photograph(name), rgb)
        for side in (8, 5):
            assert np.array_equal(images.pixels[side][index], resize_square(rgb, side))


def test_the_fingerprint_tells_images_apart_and_not_files(tmp_path):
    def fingerprint(name, made, save=np.savez):
        return open_arrays(saved(tmp_path / f"{name}.npz", made, save)).decode([4]).fingerprint

    first = fingerprint("a", arrays())
    assert fingerprint("b", arrays(), np.savez_compressed) == first
    other = arrays()
    other["val_images"][1, 2, 3, 0] ^= 1
    assert fingerprint("c", other) != first
    relabelled = arrays()
    relabelled["test_labels"][0] = 1
    assert fingerprint("d", relabelled) != first


def test_labels_become_class_names(tmp_path):
    path = saved(tmp_path / "cells.npz", arrays())
    names = {"0": "Neutrophil", "1": "basophil", "2": "neutrophil", "7": "unused"}
    listing = open_arrays(path, class_names=names).listing
    assert listing.classes == ("basophil", "neutrophil")
    assert listing.labels[:4].tolist() == [1, 0, 1, 1]
    assert "label 2" in failure(path, class_names={"0": "a", "1": "b"})


@pytest.mark.parametrize("name", ["bloodmnist.npz", "bloodmnist_64.npz"])
def test_bloodmnist_brings_its_class_names(tmp_path, name):
    made = arrays(n_classes=8)
    path = saved(tmp_path / name, made)
    given = dict(microscope="first", seed=0)
    listing = open_source(str(path), **given).listing
    assert listing.classes[listing.labels[0]] == "basophil"
    assert "platelet" not in listing.classes  # label 7 does not occur
    named = open_source(str(path), **given, reading=Reading(class_names={str(k): f"c{k}" for k in range(8)}))
    assert named.listing.classes == tuple(f"c{k}" for k in range(7))
    other = open_source(str(saved(tmp_path / "other.npz", made)), **given)
    assert other.listing.classes == tuple("0123456")
    with pytest.raises(InputError, match="--groups"):
        open_source(str(path), **given, reading=Reading(groups="patient"))


def test_labels_may_be_flat_and_parts_may_be_missing(tmp_path):
    made = arrays(val_images=None, val_labels=None, test_images=None, test_labels=None)
    made["train_labels"] = made["train_labels"][:, 0].astype(np.uint8)
    assert set(open_arrays(saved(tmp_path / "x.npz", made)).listing.parts) == {"train"}


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"train_labels": None}, "train_labels"),
        ({"val_images": None}, "val_images"),
        ({f"{part}_{what}": None for part in SIZES for what in ("images", "labels")}, "train_images"),
        ({"train_images": np.zeros((7, 9, 11, 3))}, "float64"),
        ({"train_images": np.zeros((7, 9, 11, 3), np.uint16)}, "uint16"),
        ({"train_images": np.zeros((7, 9, 11, 4), np.uint8)}, "(7, 9, 11, 4)"),
        ({"train_images": np.zeros((7, 28, 28, 28), np.uint8)}, "(7, 28, 28, 28)"),
        ({"train_images": np.zeros((7, 0, 11, 3), np.uint8)}, "(7, 0, 11, 3)"),
        ({"train_images": np.asfortranarray(np.zeros((7, 9, 11, 3), np.uint8))}, "Fortran"),
        ({"train_images": np.zeros((6, 9, 11, 3), np.uint8)}, "7, but train_images are 6"),
        ({"val_labels": np.zeros((3, 14), np.uint8)}, "14 labels per image"),
        ({"val_labels": np.zeros((3, 1))}, "float64"),
        ({"val_labels": np.array(["a", "b", "c"])}, "val_labels"),
        ({"val_labels": np.int64(1)}, "val_labels"),
        ({"val_labels": np.array([{}, {}, {}], dtype=object)}, "pickled"),
        ({"train_images": np.array([None] * 7, dtype=object)}, "train_images"),
        ({f"{part}_labels": np.zeros(n, int) for part, n in SIZES.items()}, "only one class"),
    ],
)
def test_bad_arrays_are_named(tmp_path, changes, culprit):
    assert culprit in failure(saved(tmp_path / "cells.npz", arrays(**changes)))


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a file was unpickled",)


def test_other_files_are_refused_and_never_unpickled(tmp_path):
    path = tmp_path / "cells.npz"
    assert "no such file" in failure(path)
    whole = saved(path, arrays()).read_bytes()
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    image = io.BytesIO()
    Image.new("RGB", (3, 3)).save(image, "png")
    for content in (b"", pickle.dumps(Trap()), whole[: len(whole) // 2], single.getvalue(), image.getvalue()):
        path.write_bytes(content)
        failure(path)


def test_damage_in_the_images_is_told_when_they_are_read(tmp_path):
    path = saved(tmp_path / "cells.npz", arrays(shape=(64, 64, 3)), np.savez)
    content = bytearray(path.read_bytes())
    content[20_000] ^= 255
    path.write_bytes(content)
    source = open_arrays(path)
    with pytest.raises(InputError, match=str(path)):
        source.decode([8])
