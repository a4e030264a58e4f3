"""From what trainings give to rows of the tables."""

from dataclasses import asdict
from typing import Any

from search.data.imageset import ImageSet
from search.data.splits import Indices
from search.records.ledger import Ledger
from search.records.schema import Key
from search.training.types import EpochScore, FoldScore, epoch_row

PROBABILITY_DIGITS = 7


class FoldRecorder:
    """Enters trainings on one data set in the ledger."""

    def __init__(self, ledger: Ledger, images: ImageSet) -> None:
        self._ledger, self._images = ledger, images

    def epochs(self, key: Key, epochs: list[EpochScore]) -> None:
        """Enter epochs of one training."""
        rows = [epoch_row(epoch) for epoch in epochs]
        self._ledger.add("epochs", asdict(key), {name: [row[name] for row in rows] for name in rows[0]})

    def fold(self, key: Key, score: FoldScore, val: Indices) -> None:
        """Enter a finished training, after its epochs; predictions first, so that a fold on record has them."""
        classes, labels = self._images.classes, self._images.labels
        if len(val):
            columns: dict[str, list[Any]] = {
                "image": [self._images.names[i] for i in val],
                "label": [classes[labels[i]] for i in val],
                "predicted": [classes[k] for k in score.probabilities.argmax(1)],
            }
            for k, name in enumerate(classes):
                columns[f"probability_{name}"] = score.probabilities[:, k].round(PROBABILITY_DIGITS).tolist()
            self._ledger.add("predictions", asdict(key), columns)
        metrics = {} if score.metrics is None else asdict(score.metrics)
        row = {"n_train": score.n_train, "n_val": score.n_val, **metrics, "train_s": score.train_s}
        self._ledger.add_row("folds", asdict(key), row)
