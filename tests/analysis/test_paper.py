import numpy as np
import pytest
from made_studies import with_tables
from written_study import write_study

from search.analysis.paper import (
    N_DATASET1,
    N_DATASET2,
    NOT_HERE,
    PLAIN,
    TRANSFERRED,
    WBCSNET2,
    beside_paper,
    share_difference,
    worth,
)
from search.analysis.statistics import wilson
from search.analysis.verdict import verdict
from search.records.results import read_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read_results(write_study(tmp_path_factory.mktemp("paper") / "study", n_trials=8))


def beside(results):
    return beside_paper(results, verdict(results))


def row_of(results, *words):
    return next(row for row in beside(results).rows if all(word in row.quantity for word in words))


def test_newcombes_example():
    """His table II, example a: 56 of 70 against 48 of 80."""
    assert share_difference(56 / 70, 70, 48 / 80, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("seed", range(10))
def test_an_interval_of_two_shares_contains_their_difference_and_mirrors(seed):
    rng = np.random.default_rng(seed)
    n, m = (int(number) for number in rng.integers(5, 300, 2))
    p, q = rng.integers(0, n + 1) / n, rng.integers(0, m + 1) / m
    low, high = share_difference(p, n, q, m)
    assert -1 <= low <= p - q <= high <= 1
    assert share_difference(q, m, p, n) == pytest.approx((-high, -low))
    closer = share_difference(p, 4 * n, q, 4 * m)
    assert closer[1] - closer[0] < high - low
    # Neither share alone is less certain than their difference.
    alone = [wilson(round(share * number), number) for share, number in ((p, n), (q, m))]
    assert high - low >= max(end - start for start, end in alone) - 1e-9


def test_the_papers_gains_are_within_luck():
    low, high = share_difference(WBCSNET2, N_DATASET1, PLAIN, N_DATASET1)
    assert low < 0 < high
    first, second, _ = worth()
    for words in ("0.7 points", "2,172 cells", "15 cells", f"−{-100 * low:.1f} to +{100 * high:.1f}"):
        assert words in first
    assert "6 of 254 cells" in second
    # And its figure after transfer is not a share of its cells at all.
    assert all(round(100 * n / N_DATASET2, 2) != round(100 * TRANSFERRED, 2) for n in range(N_DATASET2 + 1))


def test_without_the_papers_networks_there_is_no_comparison_with_it(results):
    found = verdict(results)
    for rows in (results.levels, results.comparison.iloc[:0]):
        assert beside_paper(with_tables(results, comparison=rows), found) is None


def test_accuracies_are_those_of_the_tables(results):
    net2, own = results.paper.set_index("level").loc["paper_wbcsnet2"], results.winner_row
    row = row_of(results, "accuracy of WBCsNet-2")
    assert row.same.startswith(f"{100 * net2['accuracy']:.1f} % (")
    assert row.winner.startswith(f"{100 * own['accuracy']:.1f} % (")
    assert row_of(results, "sensitivity").winner == f"{100 * own['sensitivity']:.1f} %"
    transfer = results.transfer.query("way == 'fine_tuned' and level == 'paper_wbcsnet2'").iloc[0]
    assert row_of(results, "fine-tuned").same.startswith(f"{100 * transfer['accuracy']:.1f} % (")


def test_gains_are_those_of_the_one_analysis(results):
    found = verdict(results)
    for quantity, findings in (("accuracy over the", found.paper), ("the same", found.transfer)):
        row = row_of(results, quantity)
        for level, text in (("paper_wbcsnet2", row.same), (results.winner, row.winner)):
            name = f"{level} − paper_plain"
            own = next(f for f in findings if f.contrast == name and f.metric == "accuracy")
            assert text == f"{own.text(own.estimate)} points ({own.interval})"


def test_cells_recognised_are_counted_once_whatever_the_case_of_their_class(results):
    predictions = results.tables["predictions"]
    own = predictions.query("phase == 'compare' and level == 'paper_plain' and label == 'neutrophil'")
    right = int((own["predicted"] == "neutrophil").sum())
    wanted = f"{right:,} of {own['image'].nunique():,}"
    for name, shown in (("neutrophil", wanted), ("Neutrophil", wanted), ("segmented", NOT_HERE)):
        renamed = with_tables(results, predictions=predictions.replace({"neutrophil": name}))
        assert row_of(renamed, "neutrophils", "plain").same == shown


def test_what_a_study_lacks_is_left_open(results):
    early = {name: results.tables[name].iloc[:0] for name in ("transfer", "effects", "predictions")}
    early = with_tables(results, **early)
    assert row_of(early, "accuracy of WBCsNet-2").same != NOT_HERE
    for quantity in ("accuracy over the", "basophils", "fine-tuned", "the same"):
        row = row_of(early, quantity)
        assert (row.same, row.winner) == (NOT_HERE, NOT_HERE)
    texts = [text for row in beside(results).rows for text in (row.interval, row.same, row.winner)]
    assert not any("nan" in text or not text for text in texts)


def test_what_differs_is_of_this_study(results):
    differs = {what: here for what, _, here in beside(results).differs}
    assert differs["images"] == "cells: 400"
    assert differs["images to transfer to"] == "others: 133"
    assert differs["side of an image in training"] == f"{results.winner_row['params_input_px']:g} px"
    assert differs["width"].startswith("0.125 ")
    assert " 8 trials" in differs["settings"]
    names = [name for name in results.comparison.columns if name.startswith("params_")]
    bare = with_tables(results, comparison=results.comparison.drop(columns=names))
    differs = {what: here for what, _, here in beside(bare).differs}
    assert differs["side of an image in training"] == "24 or 28 px"  # of the profile
