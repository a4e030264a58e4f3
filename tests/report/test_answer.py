"""The answer at the top of a page: values of a study in, words and positions out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from written_study import KINDS

from search.analysis.verdict import verdict
from search.analysis.words import level_name
from search.records.schema import TABLES
from search.report.page.answer import answer
from search.report.page.tables import levels_table, why_table


@pytest.fixture(scope="module")
def verdicts(studies):
    class Verdicts(dict):
        def __missing__(self, kind):
            self[kind] = verdict(studies[kind])
            return self[kind]

    return Verdicts()


def described(results, **changes):
    return replace(results, description=replace(results.description, **changes))


def with_tables(results, **tables):
    return replace(results, tables={name: results.tables[name] for name in TABLES} | tables)


def texts(table):
    return [[entry.text for entry in row] for row in table.rows]


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_tables_and_the_verdict_say(studies, verdicts, kind):
    results, found = studies[kind], verdicts[kind]
    box, levels = answer(results, found), results.levels.set_index("level")
    level = found.winner if found.recommendation is None else found.recommendation.level
    assert level in (box.level, "all")
    assert box.score == f"{levels['balanced_accuracy'][level]:.3f}"
    assert box.accuracy == f"{levels['accuracy'][level]:.3f}"
    assert box.is_winner == (level == results.winner)
    assert level_name(results.description.factor, results.winner) in box.winner
    assert box.test.accuracy == f"{results.description.test['accuracy']:.3f}"
    low, high = map(float, box.test.interval.split(" to "))
    assert low < float(box.test.accuracy) <= high


@pytest.mark.parametrize("kind", ["open", "control", "own", "one setting"])
def test_what_it_may_lose_is_the_bound_of_the_recommendation(studies, verdicts, kind):
    advice, stake = verdicts[kind].recommendation, answer(studies[kind], verdicts[kind]).stake
    assert f"{100 * max(0, advice.loses_at_most):.1f} points" in stake.big
    assert f"placement {advice.loses_to}," in stake.text
    line = stake.line
    assert 0 < line.margin_low < line.zero < line.margin_high <= line.high < 100
    assert line.zero - line.margin_low == pytest.approx(line.margin_high - line.zero, abs=0.02)
    assert line.low == line.zero
    assert line.middle is None


def test_what_has_no_bound_has_no_line(studies, verdicts):
    for kind, words in (("few", "unknown"), ("reference", "nothing")):
        stake = answer(studies[kind], verdicts[kind]).stake
        assert (stake.big, stake.line) == (words, None)
    assert answer(studies["few"], verdicts["few"]).title == "Cheapest placement"


@pytest.mark.parametrize("kind", ["plain", "one level"])
def test_without_a_choice_it_is_set_against_the_papers_network(studies, verdicts, kind):
    box, finding = answer(studies[kind], verdicts[kind]), verdicts[kind].main[0]
    assert box.level == ("the searched network" if kind == "plain" else "none")
    assert finding.text(finding.estimate) in box.stake.big
    assert finding.interval in box.stake.text
    line = box.stake.line
    assert line.low < line.middle < line.high
    assert (line.low > line.zero) == (finding.low > 0)
    assert all(cost.ratio is None for cost in box.costs.costs)
    assert why_table(studies[kind], verdicts[kind]) == []


def test_costs_are_relative_to_the_best_estimate(studies, verdicts):
    results, found = studies["open"], verdicts["open"]
    box, macs = answer(results, found), results.levels.set_index("level")["macs"]
    level, best = found.recommendation.level, found.recommendation.best
    assert level != best
    assert box.costs.big == f"{100 * (1 - macs[level] / macs[best]):.0f} %"
    assert f"than placement {best}" in box.costs.text
    assert box.costs.costs[0].value == f"{macs[level] / 1e6:.3g} million"
    assert box.costs.costs[0].ratio == f"{macs[level] / macs[best]:.2f} times {best}"
    unknown = with_tables(results, comparison=results.comparison.assign(latency_ms=np.nan))
    assert len(answer(unknown, found).costs.costs) == len(box.costs.costs) - 1
    assert answer(studies["settled"], verdicts["settled"]).costs.big is None  # it costs more


@pytest.mark.parametrize("kind", ["open", "settled", "reference", "collapse"])
def test_the_page_shows_why_this_level_and_not_another(studies, verdicts, kind):
    advice = verdicts[kind].recommendation
    rows = texts(why_table(studies[kind], verdicts[kind])[0])
    assert [row[0] for row in rows] == [*advice.rivals, *advice.beaten]
    assert rows[0][0] == advice.level
    for level, why, *_ in rows[len(advice.rivals) :]:
        assert advice.beaten[level] in why
    assert why_table(studies["few"], verdicts["few"]) == []


def test_a_collapse_is_visible_in_the_levels(studies):
    rows = {row[0]: row for row in texts(levels_table(studies["collapse"], None))}
    assert any("collapsed in 10 of 10 folds" in text for text in rows["3"])
    assert not any("collapsed" in text for level in ("none", "1", "2+3") for text in rows[level])


@pytest.mark.parametrize(
    ("levels", "factor", "blocks"),
    [
        ({"none": "none"}, "placement", []),
        ({"none": "1+3"}, "placement", ["1", "3"]),
        ({"none": "other"}, "placement", None),
        ({"none": "1"}, "batch_norm", None),
    ],
)
def test_placements_are_drawn(studies, verdicts, levels, factor, blocks):
    results, found = studies["one level"], verdicts["one level"]
    named = with_tables(results, comparison=results.comparison.replace({"level": levels}))
    named = described(named, factor=factor, levels=tuple(levels.values()))
    assert answer(named, replace(found, winner=levels["none"])).blocks == blocks


def test_the_test_score_is_this_winners(studies, verdicts):
    results, found = studies["open"], verdicts["open"]
    assert answer(described(results, test_scored=2), found).test.times == 2
    assert answer(described(results, winner={"level": "another"}), found).test is None
    assert answer(described(results, test=None), found).test is None


def test_a_class_too_small_to_be_sure_of_is_named(studies, verdicts):
    results, found = studies["open"], verdicts["open"]
    counts = results.tested()["label"].value_counts()
    few = answer(results, found).test.few
    assert f"the {counts.min()} images of class {counts.index[-1]}" in few
    many = with_tables(results, predictions=pd.concat([results.tables["predictions"]] * 30))
    assert answer(many, found).test.few is None
