import dataclasses

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from search.analysis.comparison import compare_settings, pair, pooled_metrics
from search.analysis.statistics import mcnemar, paired_difference
from search.common.metrics import METRIC_NAMES, score

CLASSES = ("basophil", "lymphocyte", "monocyte")
LEVELS = ("none", "1", "2")
N_FOLDS, N_PER_FOLD = 4, 15


def make_tables(seed, levels=LEVELS, repeats=1, n_folds=N_FOLDS):
    """Folds and predictions of some levels on the same partition, in tidy order."""
    rng = np.random.default_rng(seed)
    folds, predictions = [], []
    n = n_folds * N_PER_FOLD
    labels = np.resize(np.arange(3), n)
    for repeat in range(repeats):
        parts = np.split(rng.permutation(n), n_folds)
        for strength, level in enumerate(levels, start=1):
            for fold, images in enumerate(parts):
                logits = rng.normal(size=(len(images), 3)) + 0.7 * strength * np.eye(3)[labels[images]]
                probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                key = {"level": level, "repeat": repeat, "fold": fold}
                metrics = dataclasses.asdict(score(labels[images], probabilities))
                folds.append({**key, "n_train": n - len(images), "n_val": len(images), **metrics})
                for i, row in zip(images, probabilities, strict=True):
                    shares = {f"probability_{name}": p for name, p in zip(CLASSES, row, strict=True)}
                    chosen = {"label": CLASSES[labels[i]], "predicted": CLASSES[row.argmax()], **shares}
                    predictions.append({**key, "image": f"image-{i:03d}.png", **chosen})
    return pd.DataFrame(folds), pd.DataFrame(predictions)


def compare(folds, predictions, reference="none", metric="accuracy"):
    return compare_settings(folds, predictions, reference=reference, metric=metric, classes=CLASSES)


def assert_same_rows(a, b):
    assert set(a) == set(b)
    for level in a:
        assert set(a[level]) == set(b[level])
        for name, value in a[level].items():
            assert b[level][name] == (None if value is None else pytest.approx(value)), (level, name)


@pytest.mark.parametrize("seed", range(3))
def test_pooled_metrics_equal_those_of_sklearn_on_all_predictions(seed):
    _, predictions = make_tables(seed, levels=("1",))
    metrics = pooled_metrics(predictions, CLASSES)
    truth, predicted = predictions["label"], predictions["predicted"]
    assert metrics.accuracy == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert metrics.balanced_accuracy == pytest.approx(sklearn.metrics.balanced_accuracy_score(truth, predicted))
    assert metrics.macro_f1 == pytest.approx(sklearn.metrics.f1_score(truth, predicted, average="macro"))
    probabilities = predictions[[f"probability_{name}" for name in CLASSES]].to_numpy()
    assert metrics.log_loss == pytest.approx(sklearn.metrics.log_loss(truth, probabilities, labels=list(CLASSES)))
    # Columns go by name and not by their order.
    assert pooled_metrics(predictions[predictions.columns[::-1]], CLASSES) == metrics


@pytest.mark.parametrize("repeats", [1, 3])
def test_rows_hold_pooled_values_and_means_over_folds(repeats):
    folds, predictions = make_tables(0, repeats=repeats)
    rows = compare(folds, predictions)
    assert set(rows) == set(LEVELS)
    for level, row in rows.items():
        own = predictions[predictions["level"] == level]
        assert row["n_images"] == N_FOLDS * N_PER_FOLD
        for name, value in dataclasses.asdict(pooled_metrics(own, CLASSES)).items():
            assert row[name] == pytest.approx(value)
        for name in METRIC_NAMES:
            assert row[f"{name}_mean"] == pytest.approx(folds[folds["level"] == level][name].mean())
            assert row[f"{name}_low"] <= row[f"{name}_mean"] <= row[f"{name}_high"]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_differences_pair_by_fold(metric):
    folds, predictions = make_tables(1)
    rows = compare(folds, predictions, metric=metric)
    best = max(rows, key=lambda level: rows[level][f"{metric}_mean"])
    for level, row in rows.items():
        own, reference, rival = (
            folds[folds["level"] == name][metric].to_numpy() for name in (level, "none", best)
        )
        for name, other in (("reference", reference), ("best", rival)):
            wanted = paired_difference(own, other, 45, 15)
            found = [row[f"difference_{name}{end}"] for end in ("", "_low", "_high")]
            assert found == pytest.approx([wanted.mean, wanted.low, wanted.high])
        tests = [row[name] for name in ("p_holm", "p_mcnemar", "p_better", "p_equal", "p_worse")]
        if level == "none":
            assert (row["difference_reference"], tests) == (0, [None] * 5)
        else:
            assert all(0 <= p <= 1 for p in tests)
            assert sum(tests[2:]) == pytest.approx(1)


@pytest.mark.parametrize("repeats", [1, 2])
def test_order_of_rows_does_not_matter(repeats):
    # Folds of different levels end in whatever order the workers take.
    folds, predictions = make_tables(0, repeats=repeats)
    wanted = compare(folds, predictions)
    assert_same_rows(wanted, compare(folds.sample(frac=1, random_state=0), predictions))
    assert_same_rows(wanted, compare(folds, predictions.sample(frac=1, random_state=0)))


@pytest.mark.parametrize("seed", range(3))
def test_repeats_are_counted_once_for_mcnemar(seed):
    folds, predictions = make_tables(seed, repeats=3)
    rows = compare(folds, predictions)
    first = predictions[predictions["repeat"] == 0].assign(right=lambda rows: rows["label"] == rows["predicted"])
    right = first.pivot_table(index="image", columns="level", values="right", aggfunc="first")
    for level in ("1", "2"):
        wanted = mcnemar(right[level].to_numpy(bool), right["none"].to_numpy(bool))
        assert rows[level]["p_mcnemar"] == pytest.approx(wanted)


@pytest.mark.parametrize("missing", LEVELS)
def test_level_that_lacks_a_fold_is_left_out(missing):
    folds, predictions = make_tables(0)
    cut = [rows[(rows["level"] != missing) | (rows["fold"] != 2)] for rows in (folds, predictions)]
    rows = compare(*cut)
    rest = [level for level in LEVELS if level != missing]
    assert_same_rows(rows, compare(*(table[table["level"].isin(rest)] for table in (folds, predictions))))
    assert set(rows) == set(rest)
    assert ("difference_reference" in rows[rest[-1]]) == (missing != "none")


def test_little_to_compare():
    folds, predictions = make_tables(0)
    assert compare(folds[:0], predictions[:0]) == {}
    # A fold that no level has is not missing.
    assert set(compare(folds[folds["fold"] != 1], predictions[predictions["fold"] != 1])) == set(LEVELS)
    for row in compare(folds, predictions, reference="paper_plain").values():
        assert not any(name.startswith(("difference_", "p_")) for name in row)
    alone = compare(*make_tables(0, levels=("none",)))["none"]
    assert (alone["difference_best"], alone["p_holm"]) == (0, None)
    one_fold = compare(*(rows[rows["fold"] == 0] for rows in (folds, predictions)))["1"]
    assert one_fold["p_holm"] is None


def test_pairs_are_of_the_folds_that_both_have():
    folds, _ = make_tables(0, repeats=2)
    none, one = (folds[folds["level"] == level] for level in ("none", "1"))
    shuffled = one.sample(frac=1, random_state=0)
    paired = pair(none, shuffled, "accuracy")
    assert (paired.n_train, paired.n_val, len(paired)) == (45, 15, 8)
    assert paired.difference == paired_difference(none["accuracy"], one["accuracy"], 45, 15)
    lacking = pair(none, one[(one["fold"] != 2) | (one["repeat"] != 1)], "accuracy")
    assert len(lacking) == 7
    assert len(pair(none, one[:0], "accuracy")) == 0
