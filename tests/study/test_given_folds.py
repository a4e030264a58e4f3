"""Folds that the data set gives: the comparison validates one laboratory after another."""

from dataclasses import replace

import numpy as np
import pytest
from local_study import LocalStudy, draw

CLASSES = ("basophil", "eosinophil", "neutrophil")
LABORATORIES = ("Basel", "Bern", "Zug")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    source = draw("cells", CLASSES, 45, seed=0)
    laboratories = tuple(LABORATORIES[k // 3 % 3] for k in range(45))
    source = replace(source, fold_names=laboratories)
    study = LocalStudy(
        tmp_path_factory.mktemp("study") / "x", source=source, target=draw("other", CLASSES, 12, seed=1), folds=3,
        repeats=2,
    )  # fmt: skip
    yield study.run(), dict(zip(source.names, laboratories, strict=True))
    study.ledger.close()


def test_every_fold_of_the_comparison_is_one_laboratory(finished):
    study, laboratory_of = finished
    predictions = study.table("predictions", "compare")
    found = predictions.assign(laboratory=predictions["image"].map(laboratory_of))
    for _, rows in found.groupby(["level", "repeat", "fold"]):
        assert rows["laboratory"].nunique() == 1
    for _, rows in found.groupby(["level", "repeat"]):
        assert rows.groupby("fold")["laboratory"].first().tolist() == sorted(LABORATORIES)


def test_the_transfer_has_folds_of_its_own(finished):
    study, _ = finished
    folds = study.table("folds", "transfer")
    assert np.unique(folds["fold"]).tolist() == [0, 1, 2]
