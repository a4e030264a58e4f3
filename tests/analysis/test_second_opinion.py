"""The analysis against resampling, which shares neither its formulas nor its code."""

import numpy as np
import pytest

from search.analysis.contrasts import Scores, estimate, simultaneous
from search.analysis.families import main_family
from search.analysis.measures import MEASURES
from search.analysis.outcome import Outcome, outcome
from search.common.metrics import score

LEVELS = ("none", "1", "2", "3", "1+2", "1+3", "2+3", "1+2+3")
FAMILY = main_family(LEVELS, "none", {s: [level for level in LEVELS if s in level.split("+")] for s in "123"})
WEIGHTS = np.array([contrast.weights for contrast in FAMILY])
COUNTS = (12, 60, 228)


def make_predictions(seed=0, counts=COUNTS, n_levels=2):
    """Labels and probabilities of levels that find the same images hard."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(size=(1, 1, len(labels), len(counts))) + rng.normal(
        scale=0.7, size=(1, n_levels, len(labels), len(counts))
    )
    logits[..., np.arange(len(labels)), labels] += 2.5
    shares = np.exp(logits)
    return shares / shares.sum(-1, keepdims=True), labels


def metric_of(name, labels, probabilities):
    """A metric from its definition; higher is better."""
    own = probabilities[np.arange(len(labels)), labels]
    brier = 1 - 2 * own + (probabilities**2).sum(1)  # |p - truth|^2
    if name == "brier":
        return -brier.mean() / 2
    if name == "balanced_brier":
        return -np.mean([brier[labels == k].mean() for k in np.unique(labels)]) / 2
    return (-1 if name == "log_loss" else 1) * getattr(score(labels, probabilities), name)


@pytest.mark.parametrize("name", MEASURES)
def test_standard_errors_are_those_of_a_bootstrap_over_images(name):
    probabilities, labels = make_predictions()
    measure = MEASURES[name]
    # Every image is a fold of its own, so that folds add nothing.
    scores = Scores(
        values=measure.scores(probabilities, labels),
        folds=np.arange(len(labels))[None],
        labels=labels,
        balanced=measure.balanced,
    )
    found = estimate(scores, np.array([[1.0, -1.0]]))
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(600):
        drawn = np.concatenate([rng.choice(np.flatnonzero(labels == k), n) for k, n in enumerate(COUNTS)])
        one, other = (metric_of(name, labels[drawn], probabilities[0, level][drawn]) for level in (0, 1))
        differences.append(one - other)
    whole = [metric_of(name, labels, probabilities[0, level]) for level in (0, 1)]
    assert found.estimate[0] == pytest.approx(whole[0] - whole[1], abs=1e-12)
    assert np.sqrt(found.covariance[0, 0] / found.phi) == pytest.approx(np.std(differences), rel=0.12)


def test_standard_errors_of_groups_are_those_of_a_bootstrap_over_groups():
    rng = np.random.default_rng(0)
    groups = np.arange(400) // 5
    difference = rng.normal(size=80)[groups] + rng.normal(size=400)
    values = np.stack([difference, np.zeros(400)])[None]
    # A fold for each group; a group's images share the fold, so phi is that of groups, and close to 1.
    scores = Scores(values=values, folds=groups[None], labels=np.zeros(400, int), groups=groups)
    found = estimate(scores, np.array([[1.0, -1.0]]))
    by_group = difference.reshape(80, 5).mean(1)
    drawn = rng.integers(80, size=(2000, 80))
    assert found.phi == pytest.approx(1.0, abs=0.03)
    assert found.se[0] == pytest.approx(by_group[drawn].mean(1).std(), rel=0.06)


def test_the_critical_value_is_that_of_permuted_levels():
    rng = np.random.default_rng(2)
    n = 300
    values = rng.normal(size=(1, n)) + rng.exponential(size=(8, n)) * rng.random(n)
    scores = Scores(values=values[None], folds=np.arange(n)[None], labels=np.zeros(n, int))
    found = estimate(scores, WEIGHTS)
    adjusted = simultaneous(found)
    largest = []
    for _ in range(1500):
        differences = WEIGHTS @ rng.permuted(values, axis=0)
        largest.append((np.abs(differences.mean(1)) / differences.std(1, ddof=1)).max() * np.sqrt(n))
    # 1500 permutations place a 95 % point to within about 0.1.
    assert adjusted.critical == pytest.approx(np.quantile(largest, 0.95), abs=0.12)
    differences = WEIGHTS @ values
    t = np.abs(differences.mean(1)) / differences.std(1, ddof=1) * np.sqrt(n)
    permuted = (np.array(largest)[:, None] >= t).mean(0)
    assert adjusted.p == pytest.approx(permuted, abs=0.05)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("n_levels", range(3, 9))
def test_one_network_under_several_names_is_the_same_to_the_last_digit(name, n_levels):
    """Halves of three or five levels have weights that floating point cannot represent."""
    measure, names = MEASURES[name], [str(level) for level in range(n_levels)]
    probabilities, labels = make_predictions(n_levels, n_levels=1)
    values = np.repeat(measure.scores(probabilities, labels), n_levels, axis=1)
    scores = Scores(
        values=values, folds=np.arange(len(labels))[None] % 10, labels=labels, balanced=measure.balanced
    )
    family = main_family(names, "0", {"one": names[1:2], "most": names[1:]})
    adjusted = simultaneous(estimate(scores, np.array([contrast.weights for contrast in family])))
    assert (adjusted.p == 1).all()
    margin = 0.01 if measure.has_margin else None
    bounds = zip(adjusted.low, adjusted.high, strict=True)
    assert {outcome(low, high, margin) for low, high in bounds} == {Outcome.SAME}
