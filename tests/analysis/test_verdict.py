from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_studies import as_results, describe, with_tables

from search.analysis.comparison import compare_settings
from search.analysis.verdict import Finding, findings, level_name, nearest_rival, p_text, signed, verdict
from search.common.metrics import METRIC_NAMES
from search.records.schema import Settings
from search.space import PAPER_LEVELS


def make_rows(gains, *, settings="tuned", n_folds=10, seed=0):
    """Rows of comparison and folds in which each level's accuracy is better than that of `none` by its gain."""
    rng = np.random.default_rng(seed)
    folds, predictions = [], []
    for level, gain in gains.items():
        noise = rng.normal(size=n_folds)
        noise = 0.02 * (noise - noise.mean())
        for fold in range(n_folds):
            value = float(0.7 + gain + noise[fold])
            own = None if level in PAPER_LEVELS else settings
            key = {"phase": "compare", "level": level, "settings": own, "repeat": 0, "fold": fold}
            folds.append({**key, "n_train": 900, "n_val": 100, **dict.fromkeys(METRIC_NAMES, value)})
            for i in range(10):
                right = i < round(10 * value)
                shares = {"probability_a": float(right), "probability_b": float(not right)}
                chosen = {"label": "a", "predicted": "a" if right else "b", **shares}
                predictions.append({**key, "image": f"{fold}-{i}", **chosen})
    compared = compare_settings(
        pd.DataFrame(folds), pd.DataFrame(predictions), reference="none", metric="accuracy", classes=("a", "b")
    )
    rows = [
        {"level": level, "settings": None if level in PAPER_LEVELS else settings, **compared[level], "macs": 10}
        for level in gains
    ]
    return {"comparison": [{**row, "accuracy": row["accuracy_mean"]} for row in rows], "folds": folds}


def study(gains, *, equal=None, n_folds=10):
    rows = make_rows(gains, n_folds=n_folds)
    if equal is not None:
        rows = {name: [*rows[name], *more] for name, more in make_rows(equal, settings="equal", seed=1).items()}
    return as_results(describe(levels=list(gains), metric="accuracy", n_folds=n_folds), rows)


def changed(results, level, **values):
    """The study with other values in a level's rows of the comparison."""
    comparison = results.comparison.copy()
    for name, value in values.items():
        comparison.loc[comparison["level"] == level, name] = value
    return with_tables(results, comparison=comparison)


def finding(**changes):
    values = {
        "level": "1", "reference": "none", "settings": Settings.TUNED, "metric": "accuracy", "points": 0.7,
        "low": -0.1, "high": 1.5, "p_holm": 0.2, "p_mcnemar": 0.3, "p_better": 0.4, "p_equal": 0.5, "p_worse": 0.1,
        "outlook": None,
    }  # fmt: skip
    return Finding(**{**values, **changes})


@pytest.mark.parametrize("points", [-3.0, -0.01, 0.0, 0.01, 3.0])
@pytest.mark.parametrize("p", [0.0, 0.049, 0.05, 0.5, 1.0, float("nan")])
def test_only_holms_p_settles(points, p):
    found = finding(points=points, low=points - 1, high=points + 1, p_holm=p)
    assert (found.outcome != "not settled") == (p < 0.05)
    sentence = found.sentence("placement")
    assert ("not settled" in sentence) == (found.outcome == "not settled")
    # What is not settled "came out" so; "is" is reserved for what is.
    assert (" is " in sentence) == (p < 0.05)


def test_a_finding_has_its_numbers_in_words():
    sentence = finding().sentence("placement")
    for words in ("placement 1", "placement none", "0.7 points better", "−0.1 to +1.5", "p = 0.20"):
        assert words in sentence
    settled = finding(points=-2.04, low=-3, high=-1.1, p_holm=0.0004).sentence("placement")
    assert "worse" in settled
    assert "p < 0.001" in settled
    assert "better" not in finding(points=0.04).sentence("placement")  # which rounds to nothing


def test_a_large_gain_is_settled_and_asks_for_nothing():
    found = verdict(study({"none": 0.0, "1": 0.2, "2": 0.05}))
    assert found.winner == "1"
    assert "settled" not in found.headline
    assert found.findings[0].outcome == "better"
    assert found.findings[0].outlook is None
    assert not any("images" in sentence for sentence in found.sentences)


def test_a_gain_within_luck_is_not_settled_and_says_what_would():
    found = verdict(study({"none": 0.0, "1": 0.001, "2": -0.003}))
    assert found.winner == "1"
    assert "not settled" in found.headline
    assert found.findings[0].outlook.images > found.findings[0].outlook.images_now == 1000
    assert any("images" in sentence and "1,000" in sentence for sentence in found.sentences)
    assert "none, 2 (2 of 2" in found.sentences[-1]


@pytest.mark.parametrize(("macs", "said"), [((2, 10, 5), ("none", "20 %")), ((20, 10, 30), None)])
def test_a_cheaper_level_that_is_not_told_apart_is_named(macs, said):
    results = study({"none": 0.0, "1": 0.001, "2": -0.003})
    last = verdict(with_tables(results, comparison=results.comparison.assign(macs=macs))).sentences[-1]
    assert ("cheapest" in last) == (said is not None)
    assert said is None or all(words in last.split("cheapest")[1] for words in said)


def test_repeats_are_offered_where_they_could_do():
    # The paired spread is near sqrt(2) times 0.02, of which a third stays for ever.
    for gain in np.arange(0.015, 0.04, 0.0005):
        found = verdict(study({"none": 0.0, "1": gain}))
        wanted = found.findings[0].outlook
        if wanted is not None and wanted.repeats is not None:
            assert wanted.repeats > 1
            assert any(f"--repeats {wanted.repeats}" in sentence for sentence in found.sentences)
            return
    raise AssertionError("no gain was near enough")


def test_both_kinds_of_settings_are_read():
    found = verdict(study({"none": 0.0, "1": 0.2}, equal={"none": 0.0, "1": 0.001}))
    assert [(f.settings, f.outcome) for f in found.findings] == [("tuned", "better"), ("equal", "not settled")]
    assert any(sentence.startswith("At equal settings") for sentence in found.sentences)


def test_a_level_tuned_to_the_equal_settings_is_paired_though_recorded_once():
    results = study({"none": 0.0, "1": 0.02}, equal={"none": 0.0, "1": 0.02})
    folds = results.folds[(results.folds["level"] != "1") | (results.folds["settings"] == "tuned")]
    equal = findings(with_tables(results, folds=folds))[1]
    assert equal.points == pytest.approx(2.0)
    assert equal.outlook is not None or equal.outcome == "better"


def test_the_reference_may_win_and_the_nearest_rival_is_reported_first():
    results = study({"none": 0.0, "1": -0.1, "2": -0.01, "paper_plain": -0.001})
    found = verdict(results)
    assert (found.winner, nearest_rival(found.findings).level) == ("none", "2")
    assert "no placement" in found.headline
    assert found.sentences[0].startswith("Placement 2 ")
    beaten = verdict(study({"none": 0.0, "1": -0.2, "2": -0.3}))
    assert "better than every placement" in beaten.headline


def test_a_reference_that_won_by_the_pooled_score_alone_is_not_called_unbeaten():
    found = verdict(changed(study({"none": 0.0, "1": 0.2}), "none", accuracy=1.0))
    assert found.winner == "none"
    assert "placement 1 is better" in found.headline


def test_the_papers_networks_do_not_count_among_the_levels():
    gains = {"none": -0.3, "1": 0.002, "2": 0.001}
    alone = verdict(study(gains))
    beside = verdict(study({**gains, "paper_wbcsnet2": 0.2}))
    assert "2 (1 of 2" in alone.sentences[-1]
    assert (beside.winner, beside.sentences[-1]) == (alone.winner, alone.sentences[-1])


@pytest.mark.parametrize("lacking", ["one", "all of the reference"])
def test_folds_that_are_ahead_of_the_comparison_or_behind_do_no_harm(lacking):
    results = study({"none": 0.0, "1": 0.001, "2": -0.003})
    folds = results.folds[results.folds["level"] != "none"]
    if lacking == "one":
        folds = pd.concat([results.folds, folds[folds["level"] == "1"].head(1).assign(repeat=1)])
    found = verdict(with_tables(results, folds=folds))
    assert found.winner == "1"
    assert [f.points for f in found.findings] == pytest.approx([0.1, -0.3])


def test_nothing_to_compare_with_claims_nothing():
    results = study({"none": 0.0})
    assert "nothing was compared" in verdict(results).headline
    assert verdict(with_tables(results, comparison=results.comparison.iloc[:0])) is None
    without_reference = verdict(study({"1": 0.0, "2": 0.01}))
    assert without_reference.winner == "2"
    assert "not compared" in without_reference.headline
    one_fold = verdict(study({"none": 0.0, "1": 0.2}, n_folds=1))
    assert "not settled" in one_fold.headline
    assert "one fold" in one_fold.sentences[0]


def test_columns_that_an_older_study_lacks_settle_nothing():
    results = study({"none": 0.0, "1": 0.2})
    older = results.comparison.assign(**dict.fromkeys(("p_holm", "p_better", "p_equal", "p_worse"), np.nan))
    found = verdict(with_tables(results, comparison=older))
    assert [f.outcome for f in found.findings] == ["not settled"]


def test_words():
    assert level_name(None, "all") == "the searched network"
    assert level_name("batch_norm", "yes") == "batch norm yes"
    assert "plain" in level_name("placement", "paper_plain")
    assert [p_text(p) for p in (0.0001, 0.0432, 0.2, 1.0)] == ["< 0.001", "0.043", "0.20", "1.00"]
    assert [signed(points) for points in (1.26, -0.96, -0.04, 0.0)] == ["+1.3", "−1.0", "+0.0", "+0.0"]


def test_a_study_without_a_factor_names_its_network():
    results = study({"none": 0.0, "1": 0.2})
    found = verdict(replace(results, description=replace(results.description, factor=None)))
    assert found.headline.startswith("The searched network")
