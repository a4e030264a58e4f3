"""Families of contrasts: what a study asks about its levels, as weights of levels.

The contrasts of a family are judged together, so that the chance of any false alarm among them stays at 5 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np

from search.analysis.measures import Floats

SEPARATOR = " × "  # of the effects in the name of an interaction


class Kind(StrEnum):
    """A kind of contrast; values as in the effects table."""

    EFFECT = "effect"
    INTERACTION = "interaction"
    PAIR = "pair"
    HETEROGENEITY = "heterogeneity"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of levels.

    Attributes:
        name: for a person.
        level: that a pair compares with another; None for effects.
        weights: shape (n_levels,); they sum to zero.
    """

    name: str
    kind: Kind
    level: str | None
    weights: Floats


def main_family(
    levels: Sequence[str], reference: str, effects: Mapping[str, Sequence[str]], also: Sequence[str] = ()
) -> list[Contrast]:
    """The declared effects, and every level against the reference.

    Args:
        levels: that were compared.
        effects: name -> levels that have it. Effects of levels that were not all compared are left out.
        also: levels that are paired with the reference but belong to no effect, such as a control.
    """
    everything = [*levels, *also]
    found = [
        Contrast(name=name, kind=Kind.EFFECT, level=None, weights=_signs(everything, levels, having))
        for name, having in effects.items()
    ]
    found = [contrast for contrast in found if contrast.weights.any()]
    if reference not in everything:  # such as one of the paper's networks, where a space has no factor
        return found
    return found + [pair(everything, level, reference) for level in everything if level != reference]


def interactions(levels: Sequence[str], effects: Mapping[str, Sequence[str]]) -> list[Contrast]:
    """How far the effects depend on each other, for every two and three of them.

    An interaction of two effects is the first effect where the second is present, minus the same where it is
    absent. It is left out where the levels lack a combination.
    """
    found = []
    for n in (2, 3):
        for names in combinations(effects, n):
            has = np.array([[level in effects[name] for name in names] for level in levels])
            cells = [(has == cell).all(1) for cell in np.ndindex(*(2,) * n)]
            if all(cell.any() for cell in cells):
                signs = [(-1.0) ** (n - sum(cell)) for cell in np.ndindex(*(2,) * n)]
                weights = sum(sign * cell / cell.sum() for sign, cell in zip(signs, cells, strict=True))
                found.append(
                    Contrast(
                        name=SEPARATOR.join(names), kind=Kind.INTERACTION, level=None, weights=np.asarray(weights)
                    )
                )
    return found


def pair(levels: Sequence[str], level: str, other: str) -> Contrast:
    """A level minus another."""
    weights = np.zeros(len(levels))
    weights[levels.index(level)], weights[levels.index(other)] = 1.0, -1.0
    return Contrast(name=f"{level} − {other}", kind=Kind.PAIR, level=level, weights=weights)


def all_pairs(levels: Sequence[str]) -> Floats:
    """Every level minus every other one, shape (n_levels ** 2, n_levels), first levels first."""
    unit = np.eye(len(levels))
    return (unit[:, None, :] - unit[None, :, :]).reshape(-1, len(levels))


def _signs(everything: Sequence[str], levels: Sequence[str], having: Sequence[str]) -> Floats:
    """Mean of the levels that have an effect minus the mean of the others; zeros if any of them is missing."""
    has = np.array([level in having for level in everything])
    lacks = np.array([level in levels and level not in having for level in everything])
    if has.sum() < len(having) or not lacks.any():
        return np.zeros(len(everything))
    return has / has.sum() - lacks / lacks.sum()
