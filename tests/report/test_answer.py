"""The answer at the top of a page: values of a study in, words and positions out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from written_study import write_study

from search.analysis.verdict import verdict
from search.records.results import read_results
from search.records.schema import TABLES
from search.report.page.answer import answer


@pytest.fixture(scope="module")
def verdicts(studies):
    return {id(results.tables): verdict(results) for results in studies.values()}


@pytest.fixture(scope="module")
def answered(verdicts):
    """The answer, with changes of the finding on the winner; the verdict is that on the unchanged tables."""

    def make(results, *, of=None, **changes):
        found = verdicts[id((of or results).tables)]
        findings = [replace(f, **changes) if f.level == found.winner else f for f in found.findings]
        return answer(results, replace(found, findings=tuple(findings)))

    return make


def described(results, **changes):
    return replace(results, description=replace(results.description, **changes))


def with_tables(results, **tables):
    return replace(results, tables={name: results.tables[name] for name in TABLES} | tables)


@pytest.fixture(params=["not settled", "settled", "reference"])
def results(studies, request):
    return studies[request.param]


def test_it_says_what_the_tables_say(results, answered):
    box, row = answered(results), results.winner_row
    assert box.winner == results.winner
    assert (box.score, box.accuracy) == (f"{row['balanced_accuracy']:.3f}", f"{row['accuracy']:.3f}")
    assert (box.metric, box.n_images, box.n_folds) == ("balanced accuracy", 320, 10)
    assert box.test.accuracy == f"{results.description.test['accuracy']:.3f}"
    assert box.test.n == 80
    low, high = map(float, box.test.interval.split(" to "))
    assert low < float(box.test.accuracy) <= high


def test_probabilities_fill_their_bar_and_the_interval_lies_on_its_line(results, answered):
    lead = answered(results).lead
    assert [chance.name for chance in lead.chances] == ["better", "equal", "worse"]
    ends = np.cumsum([0, *(chance.width for chance in lead.chances)])
    assert [*(chance.start for chance in lead.chances), 100] == pytest.approx(ends)
    span = lead.span
    assert 0 < span.low <= span.middle <= span.high < 100
    assert 0 < span.equal_low < span.zero < span.equal_high < 100
    assert span.zero - span.equal_low == pytest.approx(span.equal_high - span.zero, abs=0.02)


def test_the_outcome_is_the_verdicts(studies, answered):
    for outcome in ("not settled", "settled"):
        assert answered(studies[outcome]).lead.outcome == outcome
    lead = answered(studies["settled"]).lead
    assert lead.points.startswith("+")
    assert lead.span.low > lead.span.zero
    assert lead.rival == "placement none"


def test_if_the_reference_won_the_lead_is_over_its_nearest_rival(studies, verdicts, answered):
    results = studies["reference"]
    levels = [
        f
        for f in verdicts[id(results.tables)].findings
        if f.settings == "tuned" and not f.level.startswith("paper")
    ]
    nearest = max(levels, key=lambda finding: finding.points)
    box = answered(results)
    assert box.winner == "none"
    assert box.lead.rival == f"placement {nearest.level}"
    assert box.lead.points == f"+{-nearest.points:.1f}"
    assert [chance.width for chance in box.lead.chances] == pytest.approx(
        [100 * nearest.p_worse, 100 * nearest.p_equal, 100 * nearest.p_better]
    )
    assert all(cost.ratio is None for cost in box.costs)


def test_costs_are_relative_to_the_reference(studies, answered):
    results = studies["settled"]
    box, macs = answered(results), results.tuned.set_index("level")["macs"]
    assert box.costs[0].value == f"{macs[box.winner] / 1e6:.3g} million"
    assert box.costs[0].ratio == f"{macs[box.winner] / macs['none']:.1f} times"
    unknown = with_tables(results, comparison=results.comparison.assign(latency_ms=np.nan))
    assert len(answered(unknown, of=results).costs) == len(box.costs) - 1


@pytest.mark.parametrize(("p", "text"), [(0.0002, "p < 0.001"), (0.0432, "p = 0.043"), (1.0, "p = 1.00")])
def test_a_p_value_does_not_break(studies, p, text, answered):
    lead = answered(studies["not settled"], p_holm=p).lead
    assert lead.p == text.replace(" ", "\N{NO-BREAK SPACE}")
    assert (lead.outcome == "settled") == (p < 0.05)


def test_one_fold_has_no_interval_and_one_level_no_lead(studies, verdicts, answered):
    results = studies["not settled"]
    nothing = dict.fromkeys(("low", "high", "p_holm", "p_better", "p_equal", "p_worse"), float("nan"))
    lead = answered(results, **nothing).lead
    assert (lead.interval, lead.p, lead.span, list(lead.chances)) == (None, None, None, [])
    assert lead.outcome == "not settled"
    assert answer(results, replace(verdicts[id(results.tables)], findings=())).lead is None


@pytest.mark.parametrize(
    ("winner", "factor", "blocks"),
    [
        ("none", "placement", []),
        ("1+3", "placement", ["1", "3"]),
        ("other", "placement", None),
        ("1", "batch_norm", None),
    ],
)
def test_placements_are_drawn(studies, verdicts, winner, factor, blocks):
    found = verdicts[id(studies["settled"].tables)]
    results = described(studies["settled"], factor=factor)
    assert answer(results, replace(found, winner=winner)).blocks == blocks


def test_the_test_score_is_this_winners(results, answered):
    assert answered(described(results, test_scored=2)).test.times == 2
    assert answered(described(results, winner={"level": "another"})).test is None
    assert answered(described(results, test=None)).test is None


def test_a_class_too_small_to_be_sure_of_is_named(results, answered):
    counts = results.tested()["label"].value_counts()
    few = answered(results).test.few
    assert f"the {counts.min()} images of class {counts.index[-1]}" in few
    many = with_tables(results, predictions=pd.concat([results.tables["predictions"]] * 30))
    assert answered(many, of=results).test.few is None


def test_a_space_without_a_factor_has_a_network_instead_of_a_level(tmp_path):
    folder = write_study(
        tmp_path / "study", n_trials=3, levels=("all",), factor=None, reference="paper_plain", stop=("transfer", 0)
    )
    results = read_results(folder)
    box = answer(results, verdict(results))
    assert (box.winner, box.blocks, box.lead.rival) == ("the searched network", None, "the paper's plain network")
