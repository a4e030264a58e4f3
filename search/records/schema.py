"""The columns of all tables: meaning, type and unit of each, and the tables that have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

from search.common.metrics import METRIC_NAMES


class Phase(StrEnum):
    """A phase of a study, in order; values as in the tables."""

    SEARCH = "search"
    CONFIRM = "confirm"
    COMPARE = "compare"
    TEST = "test"
    TRANSFER = "transfer"
    UNTOUCHED = "untouched"
    SHIFT = "shift"


# Older studies compared each level at its own best settings, and all levels at settings that they share.
OLDER_SETTINGS = {"tuned": 0, "equal": 1}


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a row is about; None where a column has no meaning.

    Attributes:
        phase: search, confirm, compare, test or transfer; untouched: a network of the comparison or the test, on
            the target as it is; shift: the same on a further laboratory.
        number: of the trial, in search and confirm.
        level: value of the factor, `paper_plain`, `paper_wbcsnet2` or `control`.
        setting: number of the setting, from 0; where levels do not share settings, its rank within the level.
        way: scratch, frozen or fine_tuned; untouched or untouched_adapted.
        data: name of the data set of scoring, and but for untouched networks also of training.
        repeat: number of the partition into folds, from 0.
        seed: of weights, batches and augmentation.
        fold: number of the fold, from 0.
    """

    phase: Phase
    number: int | None = None
    level: str | None = None
    setting: int | None = None
    way: str | None = None
    data: str | None = None
    repeat: int | None = None
    seed: int | None = None
    fold: int | None = None


KEY_COLUMNS = tuple(Key.__dataclass_fields__)

_SCORES = {
    "accuracy": "share of images classified correctly",
    "balanced_accuracy": "mean over classes of the share of their images classified correctly (macro recall)",
    "macro_f1": "mean over classes of F1",
    "sensitivity": "mean over classes of TP / (TP + FN), each class against the rest",
    "specificity": "mean over classes of TN / (TN + FP), each class against the rest",
    "log_loss": "mean negative logarithm of the probability given to the true class",
    "auc": "mean over classes of the area under the ROC curve, each class against the rest",
    "brier": "half the mean squared distance between probabilities and truth",
    "calibration_error": "expected calibration error in 15 bins of confidence; biased upwards for few images",
}

# name -> (type, meaning, unit), the same in every table.
COLUMNS: dict[str, tuple[pa.DataType, str, str]] = {
    "phase": (
        pa.string(),
        "search, confirm, compare, test, transfer, untouched (as trained on the source, on the target) or shift "
        "(the same on another laboratory)",
        "",
    ),
    "number": (pa.int64(), "number of the trial", ""),
    "level": (pa.string(), "value of the factor, one of the paper's networks, or the control", ""),
    "setting": (pa.int64(), "number of the setting, from 0; null: the paper's, or over all settings", ""),
    "way": (
        pa.string(),
        "scratch, frozen (new head only) or fine_tuned; untouched, or untouched_adapted (batch norms only)",
        "",
    ),
    "data": (pa.string(), "data set of scoring, and but for untouched networks also of training", ""),
    "repeat": (pa.int64(), "number of the partition into folds, from 0", ""),
    "seed": (pa.int64(), "seed of weights, batches and augmentation", ""),
    "fold": (
        pa.int64(),
        "number of the fold, from 0; in the search, of the trial's own folds: levels take turns with them",
        "",
    ),
    "trial_id": (pa.string(), "name of the trial in Ray", ""),
    "state": (pa.string(), "COMPLETE, PRUNED (stopped early) or FAIL", ""),
    "value": (
        pa.float64(),
        "searched metric, pooled over all search folds; if pruned, where the trial stopped",
        "",
    ),
    "confirmed_value": (pa.float64(), "searched metric, pooled over fresh folds with fresh seeds", ""),
    "datetime_start": (pa.timestamp("us", tz="UTC"), "start", ""),
    "datetime_complete": (pa.timestamp("us", tz="UTC"), "end", ""),
    "duration_s": (pa.float64(), "from start to end", "s"),
    "epochs": (pa.int64(), "epochs trained, over all folds", ""),
    "folds_done": (pa.int64(), "folds finished", ""),
    **{name: (pa.float64(), meaning, "") for name, meaning in _SCORES.items()},
    "shift_balanced_accuracy": (
        pa.float64(),
        "balanced accuracy on laboratories that no training saw, mean over them and over folds",
        "",
    ),
    "n_parameters": (pa.int64(), "trainable parameters", ""),
    "macs": (pa.int64(), "multiply-accumulates of one image's forward pass", ""),
    "train_s": (pa.float64(), "time spent on training, without validation", "s"),
    "data_s": (pa.float64(), "part of train_s spent on augmenting and normalising images", "s"),
    "val_s": (pa.float64(), "time spent on validation", "s"),
    "images_per_s": (pa.float64(), "training images per second of train_s", "1/s"),
    "error": (pa.string(), "why the trial failed", ""),
    "epoch": (pa.int64(), "number of the epoch, from 1", ""),
    "lr": (pa.float64(), "learning rate at the start of the epoch", ""),
    "train_loss": (pa.float64(), "mean loss of the epoch's batches", ""),
    "train_accuracy": (pa.float64(), "accuracy on the epoch's batches", ""),
    "val_loss": (pa.float64(), "log loss on the validation images after the epoch", ""),
    "val_accuracy": (pa.float64(), "accuracy on the validation images after the epoch", ""),
    "val_balanced_accuracy": (pa.float64(), "balanced accuracy on the validation images after the epoch", ""),
    "val_macro_f1": (pa.float64(), "macro F1 on the validation images after the epoch", ""),
    "n_train": (pa.int64(), "training images", ""),
    "n_val": (pa.int64(), "validation images", ""),
    "image": (pa.string(), "the image's path in its data set", ""),
    "label": (pa.string(), "true class", ""),
    "predicted": (pa.string(), "most probable class", ""),
    "png": (pa.binary(), "the image's centre square as a PNG file, at most 128 px a side", ""),
    "n_images": (pa.int64(), "images scored, each once per repeat; if untouched, once by every network", ""),
    **{f"{name}_mean": (pa.float64(), f"mean over folds: {meaning}", "") for name, meaning in _SCORES.items()},
    **{
        f"{name}{end}": (pa.float64(), f"{bound} end of the 95 % interval of {name}_mean", "")
        for name in METRIC_NAMES
        for end, bound in (("_low", "lower"), ("_high", "upper"))
    },
    **{
        f"difference_{rival}{end}": (
            pa.float64(),
            f"searched metric minus that of {whom}{what}; only in older studies",
            "",
        )
        for rival, whom in (("reference", "the reference level"), ("best", "the network with the best mean"))
        for end, what in (
            ("", ", mean over folds"),
            ("_low", ": lower end of the 95 % interval"),
            ("_high", ": upper end of the 95 % interval"),
        )
    },
    "p_holm": (
        pa.float64(),
        "p of the corrected resampled t test against the reference, after Holm; only in older studies",
        "",
    ),
    "p_mcnemar": (pa.float64(), "p of McNemar's exact test against the reference; only in older studies", ""),
    "p_better": (pa.float64(), "probability of a true difference above the margin", ""),
    "p_equal": (pa.float64(), "probability of a true difference within the margin", ""),
    "p_worse": (pa.float64(), "probability of a true difference below minus the margin", ""),
    "best_setting": (pa.int64(), "setting at which the level scored best", ""),
    "best_value": (pa.float64(), "searched metric at that setting; the best of several flatters", ""),
    "estimate_shrunken": (
        pa.float64(),
        "searched metric from level and setting, their interaction shrunk by its noise; the highest wins",
        "",
    ),
    "metric": (pa.string(), "what the contrast is of; losses are negated, so that positive is better", ""),
    "contrast": (pa.string(), "what is compared", ""),
    "kind": (
        pa.string(),
        "effect, interaction, pair (a level minus another), or heterogeneity (between settings)",
        "",
    ),
    "estimate": (pa.float64(), "size of the contrast; positive is better", ""),
    "se": (pa.float64(), "its standard error", ""),
    "df": (pa.float64(), "degrees of freedom of the standard error", ""),
    "low": (pa.float64(), "lower end of the 95 % interval, simultaneous over the contrast's family", ""),
    "high": (pa.float64(), "upper end of the 95 % interval, simultaneous over the contrast's family", ""),
    "p": (pa.float64(), "p value, adjusted over the contrast's family", ""),
    "outcome": (pa.string(), "better, worse, practically the same, or open; null: too few data", ""),
    "n_runs": (pa.int64(), "runs that the contrast is averaged over", ""),
    "looks": (pa.int64(), "looks at the data that the intervals allow for", ""),
    "trained_on": (pa.string(), "data set that the networks were trained on", ""),
    "n_networks": (pa.int64(), "untouched networks that the row is of", ""),
    "latency_ms": (
        pa.float64(),
        "time of one image's forward pass on the study's machine; null where its ratio to another network's did "
        "not repeat within 10 %",
        "ms",
    ),
}

_COMPARISON = (
    "n_images",
    *METRIC_NAMES,
    *(f"{name}{end}" for name in METRIC_NAMES for end in ("_mean", "_low", "_high")),
    *(f"difference_{rival}{end}" for rival in ("reference", "best") for end in ("", "_low", "_high")),
    "p_holm",
    "p_mcnemar",
    "p_better",
    "p_equal",
    "p_worse",
    "best_setting",
    "best_value",
    "estimate_shrunken",
    "n_parameters",
    "macs",
    "latency_ms",
)

# table -> columns after the key, except `params_<name>` and `probability_<class>`, which depend on the study.
TABLES: dict[str, tuple[str, ...]] = {
    "trials": (
        *("trial_id", "state", "value", "confirmed_value", "datetime_start", "datetime_complete"),
        *("duration_s", "epochs", "folds_done", *METRIC_NAMES, "shift_balanced_accuracy"),
        *("n_parameters", "macs", "train_s", "images_per_s", "error"),
    ),
    "epochs": (
        *("epoch", "lr", "train_loss", "train_accuracy"),
        *("val_loss", "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "train_s", "data_s", "val_s"),
    ),
    "folds": ("n_train", "n_val", *METRIC_NAMES, "train_s"),
    "predictions": ("image", "label", "predicted"),
    "cells": ("image", "png"),
    "comparison": _COMPARISON,
    "effects": (
        *("metric", "contrast", "kind", "estimate", "se", "df", "low", "high", "p", "outcome"),
        *("p_better", "p_equal", "p_worse", "n_runs", "looks"),
    ),
    "transfer": (*_COMPARISON, "n_networks"),
    "shift": (
        *("trained_on", "n_images", "n_networks", *METRIC_NAMES),
        *(f"{name}{end}" for name in METRIC_NAMES for end in ("_mean", "_low", "_high")),
    ),
    "pareto": ("value", *METRIC_NAMES, "shift_balanced_accuracy", "n_parameters", "macs"),
}
# A row for every epoch, and for every image that is scored.
GROWING = ("epochs", "predictions")
# Not written without rows.
OPTIONAL = ("cells", "shift", "pareto")


def field_of(name: str) -> pa.Field | None:
    """The column of this name with its meaning and unit; None for a parameter, see `params_field`."""
    if name.startswith("probability_"):
        type_, meaning, unit = pa.float64(), f"probability of class {name.removeprefix('probability_')}", ""
    elif name in COLUMNS:
        type_, meaning, unit = COLUMNS[name]
    else:
        return None
    return pa.field(name, type_, metadata={"description": meaning, "unit": unit})


def feature_field(name: str) -> pa.Field:
    """The column of a measured feature."""
    metadata = {"description": f"feature {name} of the segmented cell", "unit": ""}
    return pa.field(f"feature_{name}", pa.float32(), metadata=metadata)


def params_field(name: str, values: Sequence[Any]) -> pa.Field:
    """The column of a parameter: text, unless all values are of one simpler type."""
    kinds = {type(value) for value in values if value is not None} or {type(None)}
    kind = kinds.pop() if len(kinds) == 1 else str
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), type(None): pa.null()}
    meaning = f"parameter {name.removeprefix('params_')} of the space"
    return pa.field(name, types.get(kind, pa.string()), metadata={"description": meaning, "unit": ""})
