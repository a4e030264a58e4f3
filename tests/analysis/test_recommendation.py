"""The recommendation's bounds and steps, on scores of which the truth is known."""

import numpy as np
import pytest

from search.analysis.comparison import judge
from search.analysis.families import interactions, main_family
from search.analysis.gathering import Gathered
from search.analysis.measures import MEASURES
from search.analysis.outcome import Outcome
from search.analysis.recommendation import recommend

LEVELS = ("none", "1", "2", "1+2")
EFFECTS = {"one": ("1", "1+2"), "two": ("2", "1+2")}
FAMILY = main_family(LEVELS, "none", EFFECTS)
CROSSED = interactions(LEVELS, EFFECTS)
MACS = dict(zip(LEVELS, (10.0, 30.0, 20.0, 40.0), strict=True))


def make_gathered(errors, *, seed=0, n_runs=2, n_images=600):
    """Levels that err on a share of the images; half of every level's errors are on the same hard images."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n_images)
    labels = rng.integers(2, size=n_images)
    own = rng.random((n_runs, len(LEVELS), n_images))
    wrong = np.where(hard < 0.5, own * 0.7 + hard, 1) < 2 * np.array([errors[level] for level in LEVELS])[:, None]
    share = np.where(wrong, 0.2, 0.9)
    first = np.where(labels == 0, share, 1 - share)
    return Gathered(
        levels=LEVELS,
        missing=(),
        runs=tuple((run, run) for run in range(n_runs)),
        probabilities=np.stack([first, 1 - first], axis=-1),
        folds=np.stack([rng.permutation(n_images) % 10 for _ in range(n_runs)]),
        labels=labels,
        groups=None,
    )


def advise(gathered, margin=0.01):
    families = [judge(gathered, FAMILY, MEASURES[name], margin) for name in ("accuracy", "brier")]
    means = families[0].measure.scores(gathered.probabilities, gathered.labels).mean((0, 2))
    best = LEVELS[int(means.argmax())]
    advice = recommend(
        gathered,
        families[0],
        judge(gathered, CROSSED, MEASURES["accuracy"], margin),
        families[1:],
        levels=LEVELS,
        effects=EFFECTS,
        best=best,
        macs=MACS,
    )
    return advice, families[0], means


CASES = [dict.fromkeys(LEVELS, 0.1), {"none": 0.25, "1": 0.05, "2": 0.25, "1+2": 0.05}] + [
    dict(zip(LEVELS, np.random.default_rng(seed).uniform(0.02, 0.2, 4), strict=True)) for seed in range(4)
]


@pytest.mark.parametrize("errors", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_recommended_level_is_the_cheapest_rival_and_its_bound_holds_every_estimate(errors, seed):
    advice, main, means = advise(make_gathered(errors, seed=seed))
    assert set(advice.rivals) | set(advice.beaten) == set(LEVELS)
    assert advice.level == advice.rivals[0] == min(advice.rivals, key=MACS.get)
    gains = {level: means[LEVELS.index(level)] - means[LEVELS.index(advice.level)] for level in advice.rivals[1:]}
    if gains:
        assert advice.loses_to in gains
        assert advice.loses_at_most >= max(gains.values())
    else:
        assert advice.loses_at_most is None
    outcomes = [row["outcome"] for row in main.rows()]
    assert advice.n_open == outcomes.count(Outcome.OPEN)
    assert bool(advice.next) <= bool(advice.n_open)
    assert all(step.number is None or step.number > {"runs": 2, "images": 600}[step.do] for step in advice.next)


def test_pairs_and_the_bound_use_one_interval():
    """Where the reference is recommended, the bound is the upper end of a pair's interval in the table."""
    advice, main, _ = advise(make_gathered(CASES[0]))
    highs = {row["level"]: row["high"] for row in main.rows() if row["level"] in advice.rivals}
    assert advice.level == "none"
    assert advice.loses_at_most == pytest.approx(max(highs.values()))
    assert highs[advice.loses_to] == max(highs.values())


def test_the_level_that_came_out_best_is_never_ruled_out():
    for seed in range(20):
        for errors in CASES:
            advice, _, means = advise(make_gathered(errors, seed=seed, n_images=300))
            assert LEVELS[int(means.argmax())] in advice.rivals


def test_an_average_rules_out_no_level_that_is_an_exception_to_it():
    """`two` is worse on average by far, but helps where `one` is present."""
    errors = {"none": 0.05, "1": 0.12, "2": 0.4, "1+2": 0.06}
    advice, main, _ = advise(make_gathered(errors, n_images=3000))
    assert {row["contrast"]: row["outcome"] for row in main.rows()}["two"] == Outcome.WORSE
    assert "1+2" in advice.rivals
    assert set(advice.beaten.values()) <= set(LEVELS)


def test_an_effect_rules_out_levels_that_no_single_comparison_does():
    """Half a point at each of two levels is found before either of them is, where effects add up."""
    errors = {"none": 0.10, "1": 0.10, "2": 0.12, "1+2": 0.12}
    found = [advise(make_gathered(errors, seed=seed, n_images=1200))[0].beaten for seed in range(10)]
    reasons = [what for beaten in found for what in beaten.values()]
    assert "two is worse" in reasons
    assert all(level in {"2", "1+2"} for beaten in found for level in beaten)


def test_more_images_tighten_the_bound_and_settle_what_they_were_said_to():
    few, _, _ = advise(make_gathered(CASES[1], n_images=120))
    many, _, _ = advise(make_gathered(CASES[1], n_images=2400))
    assert "none" in many.beaten
    assert set(few.beaten) <= set(many.beaten)
    equal = [advise(make_gathered(CASES[0], n_images=n))[0].loses_at_most for n in (200, 3200)]
    assert equal[1] < 0.5 * equal[0]


def test_the_next_steps_name_a_contrast_that_is_open_and_a_metric_that_settles_it():
    for seed in range(6):
        advice, main, _ = advise(make_gathered(CASES[3], seed=seed, n_images=200))
        unsettled = {row["contrast"] for row in main.rows() if row["outcome"] == Outcome.OPEN}
        assert {step.contrast for step in advice.next} <= unsettled
        assert [step.do for step in advice.next] == sorted(
            (step.do for step in advice.next), key="metric runs images".find
        )
        assert all(step.metric == ("brier" if step.do == "metric" else "accuracy") for step in advice.next)


def test_a_wider_margin_leaves_less_open():
    gathered = make_gathered(CASES[0])
    n_open = [advise(gathered, margin)[0].n_open for margin in (0.0, 0.01, 0.05, 0.5)]
    assert n_open == sorted(n_open, reverse=True)
    assert n_open[-1] == 0
