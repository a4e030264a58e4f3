from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from made_studies import make_results

from search.analysis.pooling import pooled_metrics, score_columns
from search.common.metrics import METRIC_NAMES

CLASSES = ("a", "b")


@pytest.fixture(scope="module")
def tables():
    results = make_results(repeats=2)
    return results.compared("folds", "1"), results.compared("predictions", "1")


def test_pooled_metrics_equal_those_of_sklearn_on_all_predictions(tables):
    _, predictions = tables
    metrics = pooled_metrics(predictions, CLASSES)
    truth, predicted = predictions["label"], predictions["predicted"]
    assert metrics.accuracy == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert metrics.balanced_accuracy == pytest.approx(sklearn.metrics.balanced_accuracy_score(truth, predicted))
    assert metrics.macro_f1 == pytest.approx(sklearn.metrics.f1_score(truth, predicted, average="macro"))
    probabilities = predictions[[f"probability_{name}" for name in CLASSES]].to_numpy()
    assert metrics.log_loss == pytest.approx(sklearn.metrics.log_loss(truth, probabilities, labels=list(CLASSES)))
    # Columns go by name, and neither their order nor that of rows matters.
    mixed = predictions[predictions.columns[::-1]].sample(frac=1, random_state=0)
    assert asdict(pooled_metrics(mixed, CLASSES)) == pytest.approx(asdict(metrics))


def test_columns_hold_pooled_values_and_means_over_folds(tables):
    folds, predictions = tables
    columns = score_columns(folds, predictions, CLASSES)
    assert columns["n_images"] == predictions["image"].nunique()
    for name, value in asdict(pooled_metrics(predictions, CLASSES)).items():
        assert columns[name] == pytest.approx(value)
    for name in METRIC_NAMES:
        assert columns[f"{name}_mean"] == pytest.approx(folds[name].mean())
        assert columns[f"{name}_low"] <= columns[f"{name}_mean"] <= columns[f"{name}_high"]


def test_a_single_fold_has_no_interval(tables):
    folds, predictions = (table[(table["repeat"] == 0) & (table["fold"] == 0)] for table in tables)
    columns = score_columns(folds, predictions, CLASSES)
    assert columns["accuracy_mean"] == pytest.approx(columns["accuracy"])
    assert columns["accuracy_low"] is columns["accuracy_high"] is None
    assert not any(isinstance(value, float) and np.isnan(value) for value in columns.values())
    assert pd.Series(columns).notna().sum() == len(columns) - 2 * len(METRIC_NAMES)
