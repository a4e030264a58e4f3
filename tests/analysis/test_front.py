"""The front that ignores gains below the noise."""

from types import SimpleNamespace

import pytest

from search.analysis.front import front_above_noise
from search.analysis.outcome import Outcome
from search.analysis.recommendation import Recommendation

MACS = {"small": 1.0, "medium": 2.0, "large": 4.0}


def advice(level, beaten):
    rivals = [name for name in MACS if name not in beaten]
    return Recommendation(
        level=level,
        beaten=beaten,
        rivals=rivals,
        best="large",
        loses_at_most=0.01,
        loses_to="large",
        n_open=0,
        next=(),
    )


def pair(level, outcome):
    return SimpleNamespace(level=level, outcome=outcome)


@pytest.mark.parametrize("outcome", [Outcome.OPEN, Outcome.SAME, Outcome.WORSE, None])
def test_a_gain_that_is_not_shown_is_not_on_the_front(outcome):
    main = [pair("medium", outcome), pair("large", outcome)]
    assert front_above_noise(MACS, advice("small", {}), main, "small") == ("small",)


def test_a_dearer_level_that_is_shown_to_be_better_joins():
    main = [pair("medium", Outcome.WORSE), pair("large", Outcome.BETTER)]
    beaten = {"small": "large", "medium": "small"}
    assert front_above_noise(MACS, advice("large", beaten), main, "small") == ("small", "large")


def test_the_front_ends_at_the_recommended_level_if_an_effect_rules_out_the_cheaper_ones():
    ruled_out = advice("medium", {"small": "block at stage 1 is better"})
    main = [pair("medium", Outcome.OPEN), pair("large", Outcome.OPEN)]
    assert front_above_noise(MACS, ruled_out, main, "small") == ("small", "medium")


def test_the_reference_joins_where_the_cheaper_level_is_worse_than_it():
    main = [pair("small", Outcome.WORSE), pair("medium", Outcome.WORSE)]
    beaten = {"small": "large", "medium": "large"}
    assert front_above_noise(MACS, advice("large", beaten), main, "large") == ("small", "large")
