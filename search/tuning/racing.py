"""Early stopping of settings: a race against those that would be kept, or successive halving.

All settings visit the same blocks in the same order, so values at the same point are paired, and an easy fold or
level misleads nobody. A block is one level's training on one fold. A race allows for what is not known yet: with d
of n blocks done, the mean over d blocks has a standard error about the mean over all n that is proportional to
sqrt(1/d - 1/n), and so is the margin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.records.arguments import Pruner

MARGIN, WIDE_MARGIN = 0.063, 0.2
# Before so many blocks of several levels, only a hopeless setting is stopped.
LEAST_BLOCKS = 3
RUNGS_IN_FIRST_BLOCK, ETA = (0.2, 0.5), 3


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A setting's scores, block by block.

    Attributes:
        values: the searched metric after each epoch of each block, in order; higher is better. The last block may
            be unfinished.
        epochs: of every block, those to come included.
    """

    values: Sequence[Sequence[float]]
    epochs: Sequence[int]

    @property
    def finished(self) -> int:
        """Number of blocks that are finished."""
        return sum(len(block) == epochs for block, epochs in zip(self.values, self.epochs, strict=False))

    @property
    def n_points(self) -> int:
        """Number of epochs so far."""
        return sum(map(len, self.values))

    def until(self, points: int) -> "Curve":
        """The curve as it was after so many epochs."""
        values = []
        for block in self.values:
            if points <= 0:
                break
            values.append(block[:points])
            points -= len(block)
        return Curve(values=values, epochs=self.epochs)

    def mean(self, n_blocks: int) -> float:
        """Mean of the last values of the first blocks."""
        return sum(block[-1] for block in self.values[:n_blocks]) / n_blocks


def should_drop(pruner: Pruner, curve: Curve, rivals: Sequence[Curve], *, kept: int, n_levels: int) -> bool:
    """Decide whether to drop a setting after an epoch.

    Args:
        pruner: "race" drops a setting that is behind the worst of those that would be kept by more than a margin;
            "asha" drops one that is not among the best third at a rung: at two points of the first block and after
            every block; "none" drops nothing.
        curve: of the setting so far.
        rivals: settings that have finished the curve's last block.
        kept: number of settings that would be kept.
        n_levels: that share the setting.
    """
    last = len(curve.values)
    if last == len(curve.epochs) and curve.finished == last:
        return False
    alike = [rival for rival in rivals if rival.epochs[:last] == curve.epochs[:last]]
    if pruner == "race":
        return _is_behind(curve, alike, kept, n_levels)
    return pruner == "asha" and _is_out(curve, alike, kept)


def _is_behind(curve: Curve, rivals: Sequence[Curve], kept: int, n_levels: int) -> bool:
    """Whether the worst of those that would be kept is ahead by more than the margin."""
    n_blocks = len(curve.values)
    if len(rivals) < kept:
        return False
    worst = sorted(rivals, key=lambda rival: -rival.mean(n_blocks))[kept - 1]
    done = sum(len(block) / epochs for block, epochs in zip(curve.values, curve.epochs, strict=False))
    ahead = sum(_lead(worst, curve, block) for block in range(n_blocks)) / done
    allowance = WIDE_MARGIN if n_levels > 1 and curve.finished < LEAST_BLOCKS else 0.0
    return ahead > MARGIN * math.sqrt(1 / done - 1 / len(curve.epochs)) + allowance


def _lead(rival: Curve, curve: Curve, block: int) -> float:
    """How far a rival is ahead in a block; in an unfinished block, weighted by the share of it that is done."""
    own, other = curve.values[block], rival.values[block]
    epoch, n_epochs = len(own), curve.epochs[block]
    if epoch == n_epochs:
        return other[-1] - own[-1]
    # Single epochs are noisy: the mean over the epochs so far predicts the rest better.
    return (sum(other[:epoch]) - sum(own)) / n_epochs


def _is_out(curve: Curve, rivals: Sequence[Curve], kept: int) -> bool:
    """Whether a setting is not among the best third of those that reached its rung."""
    n_blocks, epoch = len(curve.values), len(curve.values[-1])
    if not _is_rung(n_blocks, epoch, curve.epochs[n_blocks - 1]):
        return False
    own = _at_rung(curve, n_blocks, epoch)
    reached = [_at_rung(rival, n_blocks, epoch) for rival in rivals]
    return sum(value > own for value in reached) >= max(kept, math.ceil((len(reached) + 1) / ETA))


def _at_rung(curve: Curve, n_blocks: int, epoch: int) -> float:
    """Mean over blocks of the last value, in the last block that at an epoch."""
    finished = sum(block[-1] for block in curve.values[: n_blocks - 1])
    return (finished + curve.values[n_blocks - 1][epoch - 1]) / n_blocks


def _is_rung(n_blocks: int, epoch: int, n_epochs: int) -> bool:
    """Whether an epoch is the last of a block, or one of the two rungs within the first."""
    first = {max(1, round(share * n_epochs)) for share in RUNGS_IN_FIRST_BLOCK}
    return epoch == n_epochs or (n_blocks == 1 and epoch in first)
