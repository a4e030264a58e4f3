"""Early stopping of settings: a race with the best whole settings, or successive halving.

A setting is scored in blocks, each a level and a fold, and all settings visit the blocks in the same order. So
values at the same point are paired, and an easy block misleads nobody. A race allows for what is not known yet:
with d of n blocks done, the mean over d blocks has a standard error about the mean over all n that is proportional
to sqrt(1/d - 1/n), and so is the margin.

`benchmarks/searchers.py` and `benchmarks/designs.py` show what racing costs and saves on a recorded grid. The
margins were chosen on that grid, level by level; on 44 other configurations of the same images, recorded earlier
with other initial weights, they lost nothing at 16 % of the epochs (300 random orders).
"""

import math
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from search.records.arguments import Pruner

MARGIN, WIDE_MARGIN = 0.063, 0.2
# Blocks of several levels that a setting is seen on before the margin alone counts.
LEAST_BLOCKS = 3
RUNGS_IN_FIRST_FOLD, ETA = (0.2, 0.5), 3


@dataclass(frozen=True, kw_only=True)
class Block:
    """A level's training on one fold, as far as it got.

    Attributes:
        values: the searched metric after each epoch; higher is better.
        n_epochs: of the whole training; None if unknown.
        finished: all epochs are done.
    """

    values: Sequence[float] = ()
    n_epochs: int | None = None
    finished: bool = False

    @property
    def done(self) -> float:
        """Share of the training that is done."""
        return 1.0 if self.finished else len(self.values) / (self.n_epochs or math.inf)

    def fits(self, other: "Block") -> bool:
        """Whether both may be trainings of equal length, so that their epochs can be compared."""
        return self.n_epochs is None or other.n_epochs is None or self.n_epochs == other.n_epochs


FAILED = Block(values=(0.0,), finished=True)


class HasBlocks(Protocol):
    """A trial, whose folds are blocks of its setting."""

    def block(self, fold: int) -> Block:
        """The training on a fold; without values if it has not begun."""
        ...


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A setting's blocks in their order, up to and including the first that is not finished.

    Attributes:
        whole: all of its trials are complete.
    """

    blocks: Sequence[Block]
    whole: bool = False

    @property
    def finals(self) -> list[float]:
        """The last values of the finished blocks."""
        return [block.values[-1] for block in self.blocks if block.finished]

    @property
    def n_points(self) -> int:
        """Epochs of all blocks."""
        return sum(len(block.values) for block in self.blocks)

    def parts(self, seen: int = 0) -> Iterator["Curve"]:
        """The curve after its first epoch, after its second, and so on, without the first `seen` of these."""
        for n, block in enumerate(self.blocks):
            for epoch in range(1 + seen, len(block.values) + 1):
                finished = block.finished and epoch == len(block.values)
                part = replace(block, values=block.values[:epoch], finished=finished)
                yield Curve(blocks=[*self.blocks[:n], part])
            seen = max(0, seen - len(block.values))


class Rivals:
    """The curves that a setting is held against, and the best whole ones first.

    So what a decision costs does not grow with their number.
    """

    def __init__(self, curves: Iterable[Curve] = ()) -> None:
        self.curves: list[Curve] = []
        self.whole: list[Curve] = []
        for curve in curves:
            self.put(len(self.curves), curve)

    def __len__(self) -> int:
        return len(self.curves)

    def put(self, index: int, curve: Curve) -> None:
        """Add the curve of a setting, or put it in place of an earlier state."""
        was_whole = index < len(self.curves) and self.curves[index].whole
        self.curves[index : index + 1] = [curve]
        if curve.whole and not was_whole:
            insort(self.whole, curve, key=lambda rival: -sum(rival.finals))


def curve_of(order: Sequence[tuple[str, int]], trials: Mapping[str, HasBlocks], *, whole: bool = False) -> Curve:
    """The curve of a setting.

    Args:
        order: level and fold of all blocks.
        trials: by level.
    """
    blocks = []
    for level, fold in order:
        block = trials[level].block(fold) if level in trials else Block()
        if block.values:
            blocks.append(block)
        if not block.finished:
            break
    return Curve(blocks=blocks, whole=whole)


@dataclass(frozen=True, kw_only=True)
class Race:
    """The rules by which settings of one group of levels are stopped early.

    Attributes:
        pruner: "race" stops a setting, after any epoch, that is behind the worst of the best whole ones by more
            than a margin; "asha" stops a setting that is not among the best third at a rung, after every block;
            "none" stops nothing.
        n_blocks: of a setting.
        kept: whole settings that the search must find; with fewer of them a race stops nothing.
        n_levels: of the group. In a group of several levels, a race needs a wider margin and successive halving
            has no rung until LEAST_BLOCKS blocks are finished: a setting must not be judged by the first level
            alone. In a group of one level, successive halving also has two rungs within the first block.
    """

    pruner: Pruner
    n_blocks: int
    kept: int
    n_levels: int

    def stops(self, curve: Curve, rivals: Rivals) -> bool:
        """Whether a setting stops at the end of its curve, which is not whole."""
        if self.pruner == "race":
            return self._is_behind(curve, rivals.whole)
        return self.pruner == "asha" and self._is_out(curve, rivals.curves)

    def stopped(self, curve: Curve, rivals: Rivals, *, seen: int = 0) -> Curve | None:
        """The curve up to the first point at which the setting stops; None if there is none.

        Args:
            seen: number of points, from the first, that are known to be none.
        """
        for part in curve.parts(seen):
            if len(part.finals) < self.n_blocks and self.stops(part, rivals):
                return part
        return None

    def _is_early(self, curve: Curve) -> bool:
        return self.n_levels > 1 and len(curve.finals) < LEAST_BLOCKS

    def _is_behind(self, curve: Curve, whole: Sequence[Curve]) -> bool:
        """Whether the worst of the best whole settings, which come first, is ahead by more than the margin."""
        best = list(islice((rival for rival in whole if _fit(curve, rival)), self.kept))
        if len(best) < self.kept:
            return False
        rival = best[-1]
        done = sum(block.done for block in curve.blocks)
        if done == 0:  # of a training of unknown length
            return False
        ahead = sum(map(_lead, rival.blocks, curve.blocks)) / done
        margin = MARGIN * math.sqrt(1 / done - 1 / self.n_blocks)
        return ahead > margin + (WIDE_MARGIN if self._is_early(curve) else 0.0)

    def _is_out(self, curve: Curve, rivals: Sequence[Curve]) -> bool:
        """Whether a setting is not among the best third of those that reached its rung."""
        n, epoch = len(curve.blocks), len(curve.blocks[-1].values)
        if not self._is_rung(curve):
            return False
        own = _at_rung(curve, n, epoch)
        reached = [
            _at_rung(rival, n, epoch)
            for rival in rivals
            if rival is not curve
            and len(rival.blocks) >= n
            and _fit(curve, rival)
            and len(rival.blocks[n - 1].values) >= epoch
        ]
        n_kept = max(self.kept, math.ceil((len(reached) + 1) / ETA))
        return sum(value > own for value in reached) >= n_kept

    def _is_rung(self, curve: Curve) -> bool:
        """Whether a curve ends with a block, or at one of the two rungs within the first."""
        last = curve.blocks[-1]
        if last.finished:
            return not self._is_early(curve)
        first = {max(1, round(share * (last.n_epochs or 0))) for share in RUNGS_IN_FIRST_FOLD}
        return self.n_levels == 1 and len(curve.blocks) == 1 and len(last.values) in first


def _fit(curve: Curve, rival: Curve) -> bool:
    return all(own.fits(other) for own, other in zip(curve.blocks, rival.blocks, strict=False))


def _lead(other: Block, own: Block) -> float:
    """How far a rival is ahead in a block; in an unfinished block, weighted by the share of it that is done."""
    if own.finished:
        return other.values[-1] - own.values[-1]
    # Single epochs are noisy: the mean over the epochs so far predicts the rest better.
    epoch = len(own.values)
    return (sum(other.values[:epoch]) - sum(own.values)) / (own.n_epochs or math.inf)


def _at_rung(curve: Curve, n_blocks: int, epoch: int) -> float:
    """Mean over blocks of the values at a rung: in the last block at an epoch, in all others at their end."""
    *before, last = curve.blocks[:n_blocks]
    return (sum(block.values[-1] for block in before) + last.values[epoch - 1]) / n_blocks
