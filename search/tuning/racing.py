"""Early stopping of trials: a race with the best complete trial, or successive halving.

Trials visit the same folds in the same order, so values at the same point are paired, and an easy fold misleads
nobody. A race allows for what is not known yet: with d of n folds done, the mean over d folds has a standard error
about the mean over all n that is proportional to sqrt(1/d - 1/n), and so is the margin.

The margins were chosen on a recorded grid of 96 configurations (`benchmarks/racing.py` shows their costs and
savings there). On 44 other configurations of the same images, recorded earlier with other initial weights, the
same margins lost nothing at 16 % of the epochs, and at 24 % on the first 19 of them (300 random orders each).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from search.records.arguments import Pruner

MARGIN, WIDE_MARGIN = 0.063, 0.2
RUNGS_IN_FIRST_FOLD, ETA = (0.2, 0.5), 3


@dataclass
class Curve:
    """A trial's scores so far.

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
    pruner: Pruner, curve: Curve, *, level: Sequence[Curve], others: Sequence[Curve], n_epochs: int
) -> bool:
    """Decide after any epoch but the last whether to stop a trial.

    Args:
        pruner: "race" stops a trial, after any epoch, that is behind the best complete trial of its level by more
            than a margin, or behind the best of other levels by a much wider one; "asha" stops a trial that is not
            among the best third of its level at a rung: at two points of the first fold and after every fold;
            "none" stops nothing.
        level: all other trials of its level so far: complete, stopped or running.
        others: complete trials of other levels; empty where the level must be protected from them.
        n_epochs: per fold. Trials with another number of epochs are no rivals.
    """
    if pruner == "race":
        return _is_behind(curve, level, n_epochs) or _is_behind(curve, others, n_epochs, WIDE_MARGIN)
    return pruner == "asha" and _is_out(curve, level, n_epochs)


def _is_behind(curve: Curve, trials: Sequence[Curve], n_epochs: int, allowance: float = 0.0) -> bool:
    """Whether the best complete trial is ahead by more than margin plus allowance."""
    rivals = [trial for trial in trials if trial.complete and len(trial.values[0]) == n_epochs]
    if not rivals:
        return False
    best = max(rivals, key=lambda rival: sum(fold[-1] for fold in rival.values))
    done = sum(map(len, curve.values)) / n_epochs
    leads = (_lead(best, curve, fold, n_epochs) for fold in range(len(curve.values)))
    ahead = sum(leads) / done
    return ahead > MARGIN * math.sqrt(1 / done - 1 / len(best.values)) + allowance


def _lead(rival: Curve, curve: Curve, fold: int, n_epochs: int) -> float:
    """How far a rival is ahead in a fold; in an unfinished fold, weighted by the share of it that is done."""
    own, other = curve.values[fold], rival.values[fold]
    epoch = len(own)
    if epoch == n_epochs:
        return other[-1] - own[-1]
    # Single epochs are noisy: the mean over the epochs so far predicts the rest better.
    return (sum(other[:epoch]) - sum(own)) / n_epochs


def _is_out(curve: Curve, level: Sequence[Curve], n_epochs: int) -> bool:
    """Whether a trial is not among the best third of those that reached its rung."""
    folds, epoch = len(curve.values), len(curve.values[-1])
    if not _is_rung(folds, epoch, n_epochs):
        return False
    own = _at_rung(curve, folds, epoch)
    reached = [
        _at_rung(trial, folds, epoch)
        for trial in level
        if _may_have(trial, n_epochs) and len(trial.values) >= folds and len(trial.values[folds - 1]) >= epoch
    ]
    kept = max(1, math.ceil((len(reached) + 1) / ETA))
    return sum(value > own for value in reached) >= kept


def _at_rung(trial: Curve, folds: int, epoch: int) -> float:
    """Mean over folds of the value at an epoch."""
    return sum(fold[epoch - 1] for fold in trial.values[:folds]) / folds


def _may_have(trial: Curve, n_epochs: int) -> bool:
    """Whether a trial may have this number of epochs per fold, judging by its curve."""
    if trial.complete or len(trial.values) > 1:
        return len(trial.values[0]) == n_epochs
    return not trial.values or len(trial.values[0]) <= n_epochs


def _is_rung(folds: int, epoch: int, n_epochs: int) -> bool:
    """Whether an epoch is the last of a fold, or one of the two rungs within the first."""
    first = {max(1, round(share * n_epochs)) for share in RUNGS_IN_FIRST_FOLD}
    return epoch == n_epochs or (folds == 1 and epoch in first)
