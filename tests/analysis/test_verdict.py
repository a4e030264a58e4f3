import numpy as np
import pandas as pd
import pytest

from search.analysis.comparison import compare_settings
from search.analysis.verdict import Finding, findings, level_name, nearest_rival, p_text, signed, verdict
from search.records.schema import TABLES

CLASSES = ("a", "b")
DESCRIPTION = {
    "arguments": {"metric": "accuracy"},
    "factor": "placement",
    "reference": "none",
    "plan": {"repeats": 1},
}


def make_study(gains, *, settings="tuned", spread=0.02, n_folds=10, seed=0):
    """Comparison and folds tables in which each level's accuracy is better than that of `none` by its gain."""
    rng = np.random.default_rng(seed)
    folds, predictions = [], []
    for level, gain in gains.items():
        level_noise = rng.normal(size=n_folds)
        level_noise = (level_noise - level_noise.mean()) * spread
        for fold in range(n_folds):
            value = float(0.7 + gain + level_noise[fold])
            key = {"phase": "compare", "level": level, "settings": settings, "repeat": 0, "fold": fold}
            scores = dict.fromkeys(
                ("accuracy", "balanced_accuracy", "macro_f1", "sensitivity", "specificity", "log_loss"), value
            )
            folds.append({**key, "n_train": 900, "n_val": 100, **scores})
            for i in range(10):
                right = i < round(10 * value)
                chosen = {"label": "a", "predicted": "a" if right else "b"}
                shares = {"probability_a": float(right), "probability_b": float(not right)}
                predictions.append({**key, "image": f"{fold}-{i}", **chosen, **shares})
    folds, predictions = pd.DataFrame(folds), pd.DataFrame(predictions)
    rows = compare_settings(folds, predictions, reference="none", metric="accuracy", classes=CLASSES)
    # As Parquet gives them back: every column, numbers with NaN where there is none.
    comparison = pd.DataFrame([{"level": level, "settings": settings, **rows[level]} for level in gains])
    numbers = comparison.reindex(columns=TABLES["comparison"]).astype(float)
    numbers["accuracy"] = numbers["accuracy_mean"]
    comparison = pd.concat([comparison[["level", "settings"]], numbers], axis=1)
    return comparison, folds


def finding(**changes):
    values = {
        "level": "1", "reference": "none", "settings": "tuned", "metric": "accuracy", "points": 0.7, "low": -0.1,
        "high": 1.5, "p_holm": 0.2, "p_mcnemar": 0.3, "p_better": 0.4, "p_equal": 0.5, "p_worse": 0.1,
        "outlook": None,
    }  # fmt: skip
    return Finding(**{**values, **changes})


@pytest.mark.parametrize("points", [-3.0, -0.01, 0.0, 0.01, 3.0])
@pytest.mark.parametrize("p", [0.0, 0.049, 0.05, 0.5, 1.0, float("nan")])
def test_only_holms_p_settles(points, p):
    outcome = finding(points=points, low=points - 1, high=points + 1, p_holm=p).outcome
    assert (outcome != "not settled") == (p < 0.05)
    sentence = finding(points=points, low=points - 1, high=points + 1, p_holm=p).sentence("placement")
    assert ("not settled" in sentence) == (outcome == "not settled")
    # What is not settled "came out" so; "is" is kept for what is.
    assert (" is " in sentence) == (p < 0.05)


def test_a_finding_in_words():
    assert finding().sentence("placement") == (
        "placement 1 came out 0.7 points better than placement none (95 % interval −0.1 to +1.5): not settled "
        "(p = 0.20 after Holm's correction)."
    )
    settled = finding(points=-2.04, low=-3, high=-1.1, p_holm=0.0004)
    assert settled.sentence("placement") == (
        "placement 1 is worse than placement none by 2.0 points (95 % interval −3.0 to −1.1): settled "
        "(p < 0.001 after Holm's correction)."
    )
    assert "came out level with placement none" in finding(points=0.04).sentence("placement")


def test_a_large_gain_is_settled_and_asks_for_nothing():
    found = verdict(*make_study({"none": 0.0, "1": 0.2, "2": 0.05}), DESCRIPTION)
    assert found.winner == "1"
    assert found.headline == "Placement 1 came out best, and is better than placement none."
    assert found.findings[0].outlook is None
    assert "over 99 %" in found.sentences[1]
    assert not any("repeats" in sentence for sentence in found.sentences)


def test_a_gain_within_luck_is_not_settled_and_says_what_would():
    found = verdict(*make_study({"none": 0.0, "1": 0.001, "2": -0.003}), DESCRIPTION)
    assert found.headline == "Placement 1 came out best; that it is better than placement none is not settled."
    assert any(sentence.startswith("Only more images can settle it") for sentence in found.sentences)
    assert any("this study has 1,000" in sentence for sentence in found.sentences)
    assert "Not told apart from it by their 95 % intervals: none, 2" in found.sentences[-1]


@pytest.mark.parametrize(("macs", "said"), [((2, 10, 5), "none, takes 20 %"), ((20, 10, 30), None)])
def test_a_cheaper_level_that_is_not_told_apart_is_named(macs, said):
    comparison, folds = make_study({"none": 0.0, "1": 0.001, "2": -0.003})
    last = verdict(comparison.assign(macs=macs), folds, DESCRIPTION).sentences[-1]
    assert ("The cheapest of them" in last) == (said is not None)
    assert said is None or f"The cheapest of them, {said} of its multiply-adds." in last


def test_points_have_a_sign_and_zero_has_no_minus():
    assert [signed(points) for points in (1.26, -0.96, -0.04, 0.0)] == ["+1.3", "−1.0", "+0.0", "+0.0"]


def test_repeats_are_offered_where_they_could_do():
    # The paired spread is near sqrt(2) times 0.02, of which a third stays for ever.
    for gain in np.arange(0.015, 0.04, 0.0005):
        found = verdict(*make_study({"none": 0.0, "1": gain}), DESCRIPTION)
        if any("--repeats" in sentence for sentence in found.sentences):
            assert "not settled" in found.headline
            assert found.findings[0].outlook.repeats > 1
            return
    raise AssertionError("no gain was near enough")


def test_both_kinds_of_settings_are_read():
    tuned, tuned_folds = make_study({"none": 0.0, "1": 0.2})
    equal, equal_folds = make_study({"none": 0.0, "1": 0.001}, settings="equal", seed=1)
    found = verdict(pd.concat([tuned, equal]), pd.concat([tuned_folds, equal_folds]), DESCRIPTION)
    assert [f.settings for f in found.findings] == ["tuned", "equal"]
    assert [f.outcome for f in found.findings] == ["better", "not settled"]
    assert any(s.startswith("At equal settings, placement 1 came out") for s in found.sentences)


def test_a_level_tuned_to_the_equal_settings_is_on_record_once():
    """Its folds stand under `tuned`, and pair with the others' folds under `equal`."""
    comparison, folds = make_study({"none": 0.0, "1": 0.02})
    folds.loc[folds["level"] == "1", "settings"] = "equal"
    found = findings(comparison.assign(settings="equal"), folds, DESCRIPTION)
    assert found[0].points == pytest.approx(2.0)
    assert found[0].outlook is not None or found[0].outcome == "better"


def test_the_reference_may_win():
    found = verdict(*make_study({"none": 0.0, "1": -0.01, "2": -0.02}), DESCRIPTION)
    assert found.headline == "Placement none, the reference, came out best; no placement is shown to be better."
    beaten = verdict(*make_study({"none": 0.0, "1": -0.2, "2": -0.3}), DESCRIPTION)
    assert beaten.headline == "Placement none, the reference, came out best, and is better than every placement."


def test_of_a_reference_that_won_the_nearest_rival_is_told_first():
    found = verdict(*make_study({"none": 0.0, "1": -0.1, "2": -0.01, "paper_plain": -0.001}), DESCRIPTION)
    assert nearest_rival(found.findings).level == "2"
    assert found.sentences[0].startswith("Placement 2 came out 1.0 points worse")


def test_a_reference_that_won_by_the_pooled_score_alone_is_not_called_unbeaten():
    comparison, folds = make_study({"none": 0.0, "1": 0.2})
    comparison.loc[comparison["level"] == "none", "accuracy"] = 1.0
    found = verdict(comparison, folds, DESCRIPTION)
    assert found.winner == "none"
    assert found.headline.endswith("but fold by fold placement 1 is better.")


def test_who_is_told_apart_from_the_winner_does_not_hang_on_the_papers_networks():
    gains = {"none": -0.3, "1": 0.002, "2": 0.001}
    alone = verdict(*make_study(gains), DESCRIPTION).sentences[-1]
    assert alone == "Not told apart from it by their 95 % intervals: 2 (1 of the 2 other levels)."
    tuned, folds = make_study({**gains, "paper_wbcsnet2": 0.2})
    is_paper = tuned["level"] == "paper_wbcsnet2"
    beside = verdict(tuned.assign(settings=tuned["settings"].mask(is_paper)), folds, DESCRIPTION)
    assert beside.sentences[-1] == alone


@pytest.mark.parametrize("lacking", ["one", "all of the reference"])
def test_folds_that_are_ahead_of_the_comparison_or_behind_do_no_harm(lacking):
    comparison, folds = make_study({"none": 0.0, "1": 0.001, "2": -0.003})
    if lacking == "one":
        folds = pd.concat([folds, folds[folds["level"] == "1"].head(1).assign(repeat=1)])
    else:
        folds = folds[folds["level"] != "none"]
    found = verdict(comparison, folds, DESCRIPTION)
    assert found.winner == "1"
    assert all(finding.points == pytest.approx(100 * gain) for finding, gain in
               zip(found.findings, (0.001, -0.003), strict=True))  # fmt: skip


def test_nothing_compared_says_nothing():
    assert verdict(pd.DataFrame(), pd.DataFrame(), DESCRIPTION) is None
    alone = verdict(*make_study({"none": 0.0}), DESCRIPTION)
    assert alone.headline == "Placement none stands alone: nothing was compared with it."


def test_without_the_reference_there_is_nothing_to_be_better_than():
    found = verdict(*make_study({"1": 0.0, "2": 0.01}), DESCRIPTION)
    assert found.winner == "2"
    assert "was not compared" in found.headline


def test_one_fold_claims_nothing():
    found = verdict(*make_study({"none": 0.0, "1": 0.2}, n_folds=1), DESCRIPTION)
    assert "not settled" in found.headline
    assert "by one fold, which has no interval" in found.sentences[0]


def test_words():
    assert level_name(None, "all") == "the searched network"
    assert level_name("batch_norm", "yes") == "batch norm yes"
    assert level_name("placement", "paper_plain") == "the paper's plain network"
    assert [p_text(p) for p in (0.0001, 0.0432, 0.2, 1.0)] == ["< 0.001", "0.043", "0.20", "1.00"]
