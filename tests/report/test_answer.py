"""What the first screen of a page says: values of a study in, words and places on a line out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from written_study import REFERENCE_BEST, SETTLED, UNSETTLED, write_study

from search.analysis.verdict import verdict
from search.records.results import read_results, winner
from search.report.page.answer import answer

GAINS = {"not settled": UNSETTLED, "settled": SETTLED, "reference": REFERENCE_BEST}


def found(results):
    return verdict(results.comparison, results.folds, results.description)


def said(results, **changes):
    """The answer, with changes of the finding on the winner."""
    judged = found(results)
    findings = [
        replace(finding, **changes) if finding.level == judged.winner else finding for finding in judged.findings
    ]
    return answer(results, replace(judged, findings=tuple(findings)))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A study of each outcome, without a transfer."""
    folder = tmp_path_factory.mktemp("answer")
    return {
        name: read_results(write_study(folder / name, n_trials=8, gains=gains, stop=("transfer", 0)))
        for name, gains in GAINS.items()
    }


@pytest.fixture(params=list(GAINS))
def results(studies, request):
    return studies[request.param]


def test_it_says_what_the_tables_and_the_verdict_say(results):
    box, judged = answer(results, found(results)), found(results)
    row = results.comparison.query("level == @judged.winner and settings == 'tuned'").iloc[0]
    assert box.winner == judged.winner == winner(results) == results.description["winner"]["level"]
    assert (box.score, box.accuracy) == (f"{row['balanced_accuracy']:.3f}", f"{row['accuracy']:.3f}")
    assert (box.metric, box.n_images, box.n_folds) == ("balanced accuracy", 320, 10)
    assert box.test.accuracy == f"{results.description['test']['accuracy']:.3f}"
    assert box.test.n == 80


def test_probabilities_fill_their_bar_and_the_interval_lies_on_its_line(results):
    sure = answer(results, found(results)).sure
    assert sum(chance.width for chance in sure.chances) == pytest.approx(100)
    ends = np.cumsum([0, *(chance.width for chance in sure.chances)])
    assert [chance.start for chance in sure.chances] == pytest.approx(ends[:-1])
    assert [chance.name for chance in sure.chances] == ["better", "equal", "worse"]
    span = sure.span
    assert 0 < span.low <= span.middle <= span.high < 100
    assert 0 < span.equal_low < span.zero < span.equal_high < 100
    assert span.zero - span.equal_low == pytest.approx(span.equal_high - span.zero, abs=0.02)


def test_the_outcome_is_the_verdicts(studies):
    outcomes = {name: answer(results, found(results)).sure.outcome for name, results in studies.items()}
    assert outcomes == {"not settled": "not settled", "settled": "settled", "reference": "not settled"}
    sure = answer(studies["settled"], found(studies["settled"])).sure
    assert sure.points.startswith("+")
    assert sure.span.low > sure.span.zero
    assert sure.rival == "placement none"


def test_where_the_reference_won_it_is_seen_from_its_nearest_rival(studies):
    results = studies["reference"]
    levels = [f for f in found(results).findings if f.settings == "tuned" and not f.level.startswith("paper")]
    nearest = max(levels, key=lambda finding: finding.points)
    box = answer(results, found(results))
    assert box.winner == "none"
    assert box.sure.rival == f"placement {nearest.level}"
    assert box.sure.points == f"+{-nearest.points:.1f}"
    assert [chance.width for chance in box.sure.chances] == pytest.approx(
        [100 * nearest.p_worse, 100 * nearest.p_equal, 100 * nearest.p_better]
    )
    assert all(cost.ratio is None for cost in box.costs)


def test_costs_are_the_winners_and_stand_beside_the_references(studies):
    results = studies["settled"]
    box, tuned = (
        answer(results, found(results)),
        results.comparison.query("settings == 'tuned'").set_index("level"),
    )
    ratio = tuned["macs"][box.winner] / tuned["macs"]["none"]
    assert [cost.name for cost in box.costs] == ["multiply-adds for one image", "parameters", "time for one image"]
    assert box.costs[0].value == f"{tuned['macs'][box.winner] / 1e6:.3g} million"
    assert box.costs[0].ratio == f"{ratio:.1f} times"
    unknown = replace(results, comparison=results.comparison.assign(latency_ms=np.nan))
    assert len(answer(unknown, found(unknown)).costs) == 2


@pytest.mark.parametrize(("p", "text"), [(0.0002, "p < 0.001"), (0.0432, "p = 0.043"), (1.0, "p = 1.00")])
def test_a_p_value_is_one_piece(studies, p, text):
    sure = said(studies["not settled"], p_holm=p).sure
    assert sure.p == text.replace(" ", "\N{NO-BREAK SPACE}")
    assert (sure.outcome == "settled") == (p < 0.05)


def test_one_fold_has_no_interval_and_no_probabilities(studies):
    nothing = dict.fromkeys(("low", "high", "p_holm", "p_better", "p_equal", "p_worse"), float("nan"))
    sure = said(studies["not settled"], **nothing).sure
    assert (sure.interval, sure.p, sure.span, list(sure.chances)) == (None, None, None, [])
    assert sure.outcome == "not settled"


def test_alone_there_is_nothing_to_be_sure_of(studies):
    results = studies["settled"]
    assert answer(results, replace(found(results), findings=())).sure is None


@pytest.mark.parametrize(("winner", "blocks"), [("none", []), ("1", ["1"]), ("1+3", ["1", "3"]), ("other", None)])
def test_placements_are_drawn(studies, winner, blocks):
    results = studies["settled"]
    comparison = results.comparison.replace({"level": {"1": winner}})
    renamed = replace(results, comparison=comparison)
    assert answer(renamed, replace(found(results), winner=winner)).blocks == blocks


def test_other_factors_are_not_drawn(studies):
    results = studies["settled"]
    other = replace(results, description={**results.description, "factor": "batch_norm"})
    assert answer(other, found(other)).blocks is None


def test_the_test_score_is_this_winners_with_an_interval_that_holds_it(results):
    judged, description = found(results), results.description
    score = answer(results, judged).test
    low, high = map(float, score.interval.split(" to "))
    assert low < float(score.accuracy) <= high
    assert score.times == 1
    again = replace(results, description={**description, "test_scored": 2})
    assert answer(again, judged).test.times == 2
    earlier = replace(results, description={**description, "winner": {"level": "another"}})
    assert answer(earlier, judged).test is None
    unscored = replace(results, description={k: v for k, v in description.items() if k != "test"})
    assert answer(unscored, judged).test is None
    other_settings = replace(results, description={**description, "winner": {**description["winner"], "lr": 1.0}})
    assert answer(other_settings, judged).test is None


def test_a_class_too_small_to_be_sure_of_is_named(results):
    judged, rows = found(results), results.predictions
    tested = rows[(rows["phase"] == "test") & (rows["level"] == judged.winner)]
    counts = tested["label"].value_counts()
    rarest = counts.index[-1]
    assert answer(results, judged).test.few == f"balanced accuracy hangs on the {counts[rarest]} of class {rarest}"
    many = replace(results, predictions=pd.concat([rows] * 30))
    assert answer(many, judged).test.few is None


def test_a_space_that_compares_nothing_has_a_network_and_no_level(tmp_path):
    folder = write_study(
        tmp_path / "study", n_trials=3, levels=("all",), factor=None, reference="paper_plain", stop=("transfer", 0)
    )
    results = read_results(folder)
    box = answer(results, found(results))
    assert (box.winner, box.blocks, box.sure.rival) == ("the searched network", None, "the paper's plain network")
