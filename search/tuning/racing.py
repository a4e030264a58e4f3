"""When to stop a trial: by paired comparison with the best finished trial of its level, at the same point.

A trial visits the same folds in the same order as its rivals, so that an easy fold deceives nobody.
The margins were chosen on recorded learning curves of one data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

EARLY_EPOCH_SHARE, EARLY_MARGIN = 0.2, 0.2
HALF_EPOCH_SHARE, HALF_MARGIN = 0.5, 0.1
FOLD_MARGIN = 0.03


@dataclass
class Progress:
    """What a trial has shown so far: the searched metric after each epoch of each fold."""

    values: list[list[float]] = field(default_factory=list)

    def add(self, fold: int, value: float) -> None:
        """Add the value after the next epoch of a fold."""
        if fold == len(self.values):
            self.values.append([])
        self.values[fold].append(value)


def should_stop(progress: Progress, finished: Sequence[Progress], n_epochs: int) -> bool:
    """Decide after an epoch whether a trial is too far behind to go on.

    Args:
        progress: of the trial; higher values are better.
        finished: trials of the same level that completed all their folds; those with another number of epochs
            are no rivals, since there is no same point.
        n_epochs: of every fold.
    """
    rivals = [rival for rival in finished if len(rival.values[0]) == n_epochs]
    if not rivals:
        return False
    best = max(rivals, key=lambda rival: sum(fold[-1] for fold in rival.values) / len(rival.values))
    fold = len(progress.values) - 1
    epoch = len(progress.values[fold])
    if epoch == n_epochs:
        behind = sum(best.values[f][-1] - progress.values[f][-1] for f in range(fold + 1)) / (fold + 1)
        return behind > FOLD_MARGIN / (fold + 1) ** 0.5
    if fold > 0:
        return False
    behind = best.values[0][epoch - 1] - progress.values[0][epoch - 1]
    if epoch == max(1, round(EARLY_EPOCH_SHARE * n_epochs)):
        return behind > EARLY_MARGIN
    return epoch == max(1, round(HALF_EPOCH_SHARE * n_epochs)) and behind > HALF_MARGIN
