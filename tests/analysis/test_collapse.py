"""Networks that predict one class alone."""

import numpy as np
import pandas as pd
import pytest

from search.analysis.collapse import collapsed_folds


def predictions(labels, predicted, *, n_folds=2, setting=0):
    rows = pd.DataFrame({"label": labels, "predicted": predicted})
    folds = [rows.assign(level="1", setting=setting, repeat=0, fold=fold) for fold in range(n_folds)]
    return pd.concat(folds, ignore_index=True)


LABELS = np.repeat(["a", "b"], (70, 30))


@pytest.mark.parametrize(
    ("labels", "predicted", "found"),
    [
        (LABELS, ["a"] * 100, {("1", 0): "2 of 2"}),
        (LABELS, ["a"] * 98 + ["b"] * 2, {("1", 0): "2 of 2"}),
        (LABELS, ["a"] * 97 + ["b"] * 3, {}),
        (LABELS, LABELS, {}),
        (["a"] * 100, ["a"] * 100, {}),  # right: there is no other class
    ],
)
def test_one_predicted_class_among_several_is_a_collapse(labels, predicted, found):
    assert collapsed_folds(predictions(labels, predicted)) == found


def test_folds_are_counted_by_level_and_setting_and_the_papers_networks_left_out():
    rows = pd.concat([predictions(LABELS, LABELS), predictions(LABELS, ["b"] * 100, n_folds=3, setting=1)])
    rows.loc[(rows["setting"] == 1) & (rows["fold"] == 0), "predicted"] = "a"
    rows.loc[(rows["setting"] == 1) & (rows["fold"] == 2), "predicted"] = LABELS
    assert collapsed_folds(rows) == {("1", 1): "2 of 3"}
    assert collapsed_folds(rows.assign(setting=np.nan)) == collapsed_folds(rows.iloc[:0]) == {}
