"""What a study's contrasts are said to show."""

from dataclasses import replace

import numpy as np
import pytest
from made_studies import with_tables
from written_study import REFERENCE_BEST, SETTLED, UNSETTLED, write_study

from search.analysis.families import Kind
from search.analysis.outcome import Outcome
from search.analysis.verdict import ALPHA, verdict
from search.analysis.words import level_name, p_text, signed
from search.records.results import read_results

STUDIES = {
    "unsettled": {"gains": UNSETTLED},
    "settled": {"gains": SETTLED},
    "reference best": {"gains": REFERENCE_BEST},
    "two levels": {"levels": ("none", "1")},
    "control": {"levels": ("none", "1"), "control": True},
    "own": {"levels": ("none", "1", "2"), "own": True},
    "no factor": {"levels": ("all",), "factor": None, "reference": "paper_plain"},
    "few folds": {"levels": ("none", "1"), "n_folds": 2, "n_runs": 2},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Studies by name, each written once."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("verdict") / "study"
            n_trials = 4 * len(STUDIES[name].get("levels", "12345678"))
            made[name] = read_results(write_study(folder, n_trials=n_trials, **STUDIES[name]))
        return made[name]

    return make


@pytest.mark.parametrize("name", STUDIES)
def test_every_comparison_has_one_p_which_agrees_with_its_interval_and_outcome(results, name):
    found = verdict(results(name))
    everything = [*found.main, *found.interactions, *found.paper, *found.transfer]
    everything += [finding for family in found.others.values() for finding in family]
    keys = [(f.phase, f.metric, f.contrast, f.kind, f.level, f.way) for f in everything]
    if found.recommendation is not None:
        assert len(set(keys)) == len(keys)
    for finding in everything:
        if finding.outcome is None:
            assert np.isnan(finding.low)
            continue
        assert finding.low <= finding.estimate <= finding.high
        excludes_zero = finding.low > 0 or finding.high < 0
        assert (finding.p < ALPHA) == excludes_zero
        assert excludes_zero or finding.outcome in (Outcome.OPEN, Outcome.SAME)
    for finding in found.by_setting:
        assert np.isnan(finding.p)
        assert np.isnan(finding.low)


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_said_is_text_without_gaps(results, name):
    found, factor = verdict(results(name)), results(name).description.factor
    sentences = [found.headline, *found.reasons, *found.warnings, *(f.sentence(factor) for f in found.main)]
    for sentence in sentences:
        assert sentence.endswith(".")
        assert sentence[0].isupper() or not sentence[0].isalpha()
        assert "nan" not in sentence.split()
        assert "None" not in sentence


def test_a_difference_that_is_open_says_what_could_be_gained(results):
    for finding in verdict(results("unsettled")).main:
        sentence = finding.sentence("placement")
        if finding.outcome in (Outcome.OPEN, Outcome.SAME):
            assert f"at most {100 * max(0, finding.high):.1f} points" in sentence
        assert finding.interval in sentence


def test_the_recommended_level_is_not_beaten_and_no_dearer_than_any_such(results):
    for name in ("unsettled", "settled", "reference best", "own"):
        study = results(name)
        found, macs = verdict(study), study.levels.set_index("level")["macs"]
        advice = found.recommendation
        assert advice.level not in advice.beaten
        assert set(advice.rivals) | set(advice.beaten) == set(study.description.levels)
        assert macs[advice.level] == macs[list(advice.rivals)].min()
        assert level_name(study.description.factor, advice.level) in found.headline
        shown = {f.level for f in found.main if f.kind == Kind.PAIR and f.outcome == Outcome.WORSE}
        assert shown <= set(advice.beaten)


def test_a_large_true_difference_is_settled(results):
    found = verdict(results("settled"))
    better = {f.level for f in found.main if f.outcome == Outcome.BETTER}
    assert "2+3" in better
    assert "none" in found.recommendation.beaten
    assert verdict(results("reference best")).recommendation.level == "none"


def test_what_decides_comes_first_and_other_metrics_are_families_of_their_own(results):
    found = verdict(results("unsettled"))
    contrasts = [f.contrast for f in found.main]
    assert [f.kind for f in found.main] == [Kind.EFFECT] * 3 + [Kind.PAIR] * 7
    assert {f.metric for f in found.main} == {"balanced_accuracy"}
    assert list(found.others) == ["accuracy", "brier", "balanced_brier", "log_loss"]
    for family in found.others.values():
        assert [f.contrast for f in family] == contrasts
    assert len(found.interactions) == 4
    assert {f.setting for f in found.by_setting} == {int(s) for s in results("unsettled").at_settings["setting"]}


def test_a_control_that_differs_from_the_reference_is_a_warning(results):
    study = results("control")
    found = verdict(study)
    assert "control" in {f.level for f in found.main}
    assert not any("control" in text for text in found.warnings)
    effects = study.effects.copy()
    own = (effects["level"] == "control") & (effects["metric"] == "balanced_accuracy") & effects["p"].notna()
    effects.loc[own, ["estimate", "low", "high", "p", "outcome"]] = [0.05, 0.01, 0.09, 0.001, "better"]
    assert any("control" in text for text in verdict(with_tables(study, effects=effects)).warnings)


def test_own_settings_warn_of_luck_in_tuning_and_shared_ones_do_not(results):
    assert any("luck" in text for text in verdict(results("own")).warnings)
    assert not any("luck" in text for text in verdict(results("unsettled")).warnings)


def test_a_study_that_was_extended_after_its_last_look_says_so(results):
    study = results("two levels")
    beyond = replace(study, description=replace(study.description, beyond_plan=True))
    assert len(verdict(beyond).warnings) == len(verdict(study).warnings) + 1


def test_too_few_data_settle_nothing(results):
    found = verdict(results("few folds"))
    assert {f.outcome for f in found.main} == {None}
    assert any("too few" in text for text in found.warnings)


def test_contrasts_that_depend_on_the_setting_are_in_the_headline(results):
    study = results("two levels")
    effects = study.effects.copy()
    effects.loc[effects["kind"] == Kind.HETEROGENEITY, "p"] = 0.001
    assert "settings" in verdict(with_tables(study, effects=effects)).headline
    effects.loc[effects["kind"] == Kind.HETEROGENEITY, "p"] = 0.5
    assert "settings" not in verdict(with_tables(study, effects=effects)).headline


def test_without_a_factor_the_network_is_compared_with_the_papers(results):
    found = verdict(results("no factor"))
    assert found.recommendation is None
    assert [f.contrast for f in found.main] == ["all − paper_plain"]
    assert "searched network" in found.headline.lower()


def test_before_a_comparison_there_is_no_verdict(results):
    study = results("two levels")
    assert verdict(with_tables(study, comparison=study.comparison.iloc[:0])) is None


def test_words():
    assert [p_text(p) for p in (0.0001, 0.0123, 0.2)] == ["< 0.001", "0.012", "0.20"]
    assert [signed(points) for points in (1.23, -1.23, -0.04)] == ["+1.2", "−1.2", "+0.0"]
    assert level_name("placement", "1+2") == "placement 1+2"
    assert level_name(None, "all") == "the searched network"
