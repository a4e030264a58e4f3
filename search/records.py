"""From what trainings give to rows of the tables."""

from dataclasses import asdict, replace
from typing import Any

from search.columns import Key
from search.data.imageset import ImageSet
from search.data.splits import Indices
from search.tables import Ledger
from search.tasks import EpochScore, FoldScore, epoch_row
from search.tuning.book import EndedTrial
from wbcmodels.config import ModelConfig
from wbcmodels.cost import macs, n_parameters

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


def trial_row(ended: EndedTrial, n_train: float, n_classes: int) -> dict[str, Any]:
    """The trials table's columns, beside the key, of a trial that ended.

    Args:
        n_train: training images of a fold.
        n_classes: of the data set.
    """
    trial = ended.trial
    pooled = {} if trial.pooled is None else asdict(trial.pooled)
    return {
        **{f"params_{name}": value for name, value in trial.params.items()},
        "trial_id": f"trial-{trial.number:04d}",
        "state": ended.state,
        "value": ended.value,
        "datetime_start": trial.started,
        "datetime_complete": ended.completed,
        "duration_s": (ended.completed - trial.started).total_seconds(),
        "epochs": trial.epochs,
        "folds_done": trial.folds_done,
        **pooled,
        **model_size(trial.configuration.model, n_classes),
        "train_s": trial.train_s,
        "images_per_s": n_train * trial.epochs / trial.train_s if trial.train_s else None,
        "error": ended.error,
    }


def model_size(model: ModelConfig, n_classes: int) -> dict[str, int]:
    """Columns on a network's cost."""
    model = replace(model, n_classes=n_classes)
    return {"n_parameters": n_parameters(model), "macs": macs(model)}
