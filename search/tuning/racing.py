"""When to stop a trial early: by a race with the best complete trial, or by successive halving.

Trials visit the same folds in the same order, so that values at the same point can be paired and an easy fold
deceives nobody. A race allows for what is still unknown: with d of n folds done, the mean over the d has a
standard error about the mean over all n that is proportional to sqrt(1/d - 1/n), and so is the margin.

The margins were set on a recorded grid of 96 configurations (`benchmarks/racing.py`, which says what they cost and
save there). On 44 other configurations of the same images, recorded before with other initial weights, the same
margins lost nothing at 16 % of the epochs, and at 24 % on the first 19 of them (300 random orders each).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from search.records.arguments import Pruner

MARGIN, WIDE_MARGIN = 0.063, 0.2
RUNGS_IN_FIRST_FOLD, ETA = (0.2, 0.5), 3


@dataclass
class Progress:
    """What a trial has shown so far.

    Attributes:
        values: the searched metric after each epoch of each fold; higher is better.
        complete: all folds are finished.
    """

    values: list[list[float]] = field(default_factory=list)
    complete: bool = False

    def add(self, fold: int, value: float) -> None:
        """Add the value after the next epoch of a fold."""
        if fold == len(self.values):
            self.values.append([])
        self.values[fold].append(value)


def should_stop(
    pruner: Pruner, progress: Progress, *, level: Sequence[Progress], others: Sequence[Progress], n_epochs: int
) -> bool:
    """Decide after an epoch, but the very last, whether a trial has no prospect.

    Args:
        pruner: "race" stops what is behind the best complete trial of the level by more than a margin, or behind
            the best of other levels by a much wider one, after any epoch; "asha" stops what is not among the best
            third of its level at a rung: at two points of the first fold and after every fold; "none" stops
            nothing.
        progress: of the trial.
        level: all other trials of its level so far: complete, stopped or running.
        others: complete trials of other levels; empty where the level must be protected from them.
        n_epochs: of every fold of the trial. Trials that show another number are no rivals.
    """
    if pruner == "race":
        return _is_behind(progress, level, n_epochs) or _is_behind(progress, others, n_epochs, WIDE_MARGIN)
    return pruner == "asha" and _is_out(progress, level, n_epochs)


def _is_behind(progress: Progress, trials: Sequence[Progress], n_epochs: int, allowance: float = 0.0) -> bool:
    """Whether the best of the complete trials is ahead by more than margin and allowance."""
    rivals = [trial for trial in trials if trial.complete and len(trial.values[0]) == n_epochs]
    if not rivals:
        return False
    best = max(rivals, key=lambda rival: sum(fold[-1] for fold in rival.values))
    done = sum(map(len, progress.values)) / n_epochs
    leads = (_lead(best, progress, fold, n_epochs) for fold in range(len(progress.values)))
    ahead = sum(leads) / done
    return ahead > MARGIN * math.sqrt(1 / done - 1 / len(best.values)) + allowance


def _lead(rival: Progress, progress: Progress, fold: int, n_epochs: int) -> float:
    """By how much a rival is ahead in a fold; in the one under way, times the part of it that is done."""
    own, other = progress.values[fold], rival.values[fold]
    epoch = len(own)
    if epoch == n_epochs:
        return other[-1] - own[-1]
    # Single epochs jump: the mean over those so far foretells the rest better.
    return (sum(other[:epoch]) - sum(own)) / n_epochs


def _is_out(progress: Progress, level: Sequence[Progress], n_epochs: int) -> bool:
    """Whether a trial is not among the best third of those that reached its rung."""
    folds, epoch = len(progress.values), len(progress.values[-1])
    if not _is_rung(folds, epoch, n_epochs):
        return False
    own = _at_rung(progress, folds, epoch)
    reached = [
        _at_rung(trial, folds, epoch)
        for trial in level
        if _may_have(trial, n_epochs) and len(trial.values) >= folds and len(trial.values[folds - 1]) >= epoch
    ]
    kept = max(1, math.ceil((len(reached) + 1) / ETA))
    return sum(value > own for value in reached) >= kept


def _at_rung(trial: Progress, folds: int, epoch: int) -> float:
    """The value at an epoch, as a mean over folds."""
    return sum(fold[epoch - 1] for fold in trial.values[:folds]) / folds


def _may_have(trial: Progress, n_epochs: int) -> bool:
    """Whether a trial can have this number of epochs per fold, by what it has shown."""
    if trial.complete or len(trial.values) > 1:
        return len(trial.values[0]) == n_epochs
    return not trial.values or len(trial.values[0]) <= n_epochs


def _is_rung(folds: int, epoch: int, n_epochs: int) -> bool:
    """Whether an epoch is the last of a fold, or one of the two points of the first."""
    first = {max(1, round(share * n_epochs)) for share in RUNGS_IN_FIRST_FOLD}
    return epoch == n_epochs or (folds == 1 and epoch in first)
