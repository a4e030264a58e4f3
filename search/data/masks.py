"""Masks among the images: files that only mark where something is in another image."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

# Files that are looked into, of each set that may be masks.
SAMPLE = 6
# A mask is black and white; JPEG blurs its edges.
_NEAR, _SHARE, _COLOUR = 24, 0.95, 24


@dataclass(frozen=True)
class Masks:
    """Files that belong together, and a shell pattern that names them all."""

    pattern: str
    names: tuple[str, ...]


def is_mask(rgb: NDArray[np.uint8]) -> bool:
    """Whether an image, uint8 (height_px, width_px, 3), is nearly black and white without any colour."""
    values = rgb.astype(np.int16)
    colourless = float((values.max(2) - values.min(2) <= _COLOUR).mean())
    grey = values.mean(2)
    return colourless > _SHARE and float(((grey <= _NEAR) | (grey >= 255 - _NEAR)).mean()) > _SHARE


def find_masks(
    images: Sequence[str], read: Callable[[str], NDArray[np.uint8] | None]
) -> tuple[list[Masks], list[Masks]]:
    """Find files that are masks of others, by their names and by a look into some of them.

    Args:
        images: names, POSIX paths.
        read: returns an image at full size; None if it cannot be read.
    Returns:
        Masks, and files whose names pair them with others as masks are, but which do not look like masks.
    """
    certain, paired = [], []
    folders = _by_folder(images)
    for files in folders + _by_pairing(images):
        step = max(1, len(files.names) // SAMPLE)
        looks = [rgb for name in files.names[::step][:SAMPLE] if (rgb := read(name)) is not None]
        # An even image may be a mask of nothing, or no mask.
        if looks and all(map(is_mask, looks)) and any(np.ptp(rgb) > 0 for rgb in looks):
            certain.append(files)
        elif files not in folders:
            paired.append(files)
    if {name for files in certain for name in files.names} == set(images):  # black and white drawings
        return [], paired
    return certain, paired


def _by_folder(images: Sequence[str]) -> list[Masks]:
    """The files below all folders with the same name and depth."""
    found: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for name in images:
        for depth, folder in enumerate(name.split("/")[:-1]):
            found[depth, folder].append(name)
    return [
        Masks(f"*/{folder}/*" if depth else f"{folder}/*", tuple(names))
        for (depth, folder), names in found.items()
    ]


def _by_pairing(images: Sequence[str]) -> list[Masks]:
    """Files whose names are another file's with the same word before or behind it, such as x and x_mask."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    known = {_folder_and_stem(name) for name in images}
    for name in images:
        folder, stem = _folder_and_stem(name)
        for cut in range(1, len(stem)):
            if _is_word(stem[cut:]) and (folder, stem[:cut]) in known:
                found[f"*{stem[cut:]}.*"].append(name)
                break
            if _is_word(stem[:cut][::-1]) and (folder, stem[cut:]) in known:
                found[f"*{stem[:cut]}*"].append(name)
                break
    return [Masks(pattern, tuple(names)) for pattern, names in found.items() if len(names) > 1]


def _is_word(ending: str) -> bool:
    """Whether the end of a name is a word of its own, such as _mask, and not part of a word or number."""
    return not ending[0].isalnum() and any(letter.isalpha() for letter in ending)


def _folder_and_stem(name: str) -> tuple[str, str]:
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    return str(path.parent), path.stem
