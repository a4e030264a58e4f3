import numpy as np
import pytest

from search.tuning.racing import (
    FAILED,
    LEAST_BLOCKS,
    MARGIN,
    RUNGS_IN_FIRST_FOLD,
    WIDE_MARGIN,
    Block,
    Curve,
    Race,
    Rivals,
)

N_EPOCHS = (1, 2, 5, 14)
N_BLOCKS = 6
PRUNERS = ("race", "asha", "none")


def scores(rng, n_epochs):
    """Blocks that rise with noise, of a setting of whatever quality."""
    rise = 1 - np.exp(-3 * np.arange(1, n_epochs + 1) / n_epochs)
    return np.clip(rng.uniform(0.3, 1.0) * rise + rng.normal(0, 0.05, (N_BLOCKS, n_epochs)), 0, 1)


def whole(values):
    values = np.asarray(values, dtype=float)
    blocks = [Block(values=list(map(float, row)), n_epochs=len(row), finished=True) for row in values]
    return Curve(blocks=blocks, whole=True)


def race(pruner="race", kept=1, n_levels=1):
    return Race(pruner=pruner, n_blocks=N_BLOCKS, kept=kept, n_levels=n_levels)


def decisions(rules, values, rivals):
    """What is decided at every point but the last."""
    return [rules.stops(part, Rivals(rivals)) for part in whole(values).parts()][:-1]


def flat(value, n_epochs):
    return np.full((N_BLOCKS, n_epochs), value)


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("n_levels", [1, 3])
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_nothing_is_stopped_without_enough_rivals_nor_while_it_leads(n_epochs, n_levels, pruner):
    rng = np.random.default_rng(n_epochs)
    rivals = [scores(rng, n_epochs) for _ in range(4)]
    for kept in (1, 2):
        rules = race(pruner, kept, n_levels)
        assert not any(decisions(rules, flat(0, n_epochs), map(whole, rivals[: kept - 1])))
        assert not any(decisions(rules, np.max(rivals, axis=0), map(whole, rivals)))
        assert not any(decisions(race("none"), flat(0, n_epochs), map(whole, rivals)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("n_levels", [1, 3])
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_what_is_worse_everywhere_is_stopped_no_later(n_epochs, n_levels, pruner, seed):
    rng = np.random.default_rng(seed)
    rivals, rules = [whole(scores(rng, n_epochs)) for _ in range(4)], race(pruner, 2, n_levels)
    values = scores(rng, n_epochs)
    worse = values - rng.uniform(0, 0.2, values.shape)
    pairs = zip(decisions(rules, values, rivals), decisions(rules, worse, rivals), strict=True)
    assert all(also or not stops for stops, also in pairs)


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_the_margin_narrows_with_what_is_known_and_is_wide_for_the_first_of_several_levels(n_epochs):
    rivals = [whole(flat(0.9, n_epochs))]
    for n_levels in (1, 3):
        for n in range(1, N_BLOCKS * n_epochs):
            margin = MARGIN * (n_epochs / n - 1 / N_BLOCKS) ** 0.5
            early = n_levels > 1 and n // n_epochs < LEAST_BLOCKS
            for behind, stops in ((-1e-6, False), (1e-6, True)):
                value = 0.9 - margin - behind - WIDE_MARGIN * early
                assert decisions(race(n_levels=n_levels), flat(value, n_epochs), rivals)[n - 1] == stops


def test_a_hopeless_setting_does_not_cost_three_trainings():
    rivals = [whole(flat(0.9, 5))]
    assert decisions(race(n_levels=8), flat(0.2, 5), rivals)[0]
    assert race(n_levels=8).stopped(whole(flat(0.2, 5)), Rivals(rivals)).n_points == 1


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_in_a_race_only_the_worst_of_the_best_whole_settings_counts(kept, seed):
    rng = np.random.default_rng(seed)
    rivals = [whole(scores(rng, 10)) for _ in range(5)]
    ranked = sorted(rivals, key=lambda rival: -sum(rival.finals))
    partial = [Curve(blocks=whole(flat(1.0, 10)).blocks[:4])]
    values = scores(rng, 10)
    found = decisions(race(kept=kept), values, [*rivals, *partial])
    assert found == decisions(race(), values, [ranked[kept - 1]])


def test_within_a_block_a_race_compares_means_over_the_epochs():
    rivals = [whole(flat(0.8, 10))]
    for first, last, stops in ((0.8, 0.6, False), (0.6, 0.8, True)):
        curve = Curve(blocks=[Block(values=[first] * 4 + [last], n_epochs=10)])
        assert race().stops(curve, Rivals(rivals)) == stops


@pytest.mark.parametrize("pruner", ["race", "asha"])
@pytest.mark.parametrize("n_epochs", [4, 10])
def test_settings_with_another_number_of_epochs_are_no_rivals(n_epochs, pruner):
    strangers = [whole(flat(0.99, n)) for n in (1, n_epochs - 1, n_epochs + 1, 2 * n_epochs)]
    assert not any(decisions(race(pruner), flat(0, n_epochs), strangers))
    poor = [whole(flat(0.1, n_epochs))]
    values = flat(0.2, n_epochs)
    assert decisions(race(pruner), values, [*strangers, *poor]) == decisions(race(pruner), values, poor)


def test_a_failed_level_counts_as_nothing():
    rivals = [whole(flat(0.9, 5))]
    good = whole(flat(0.9, 5)).blocks
    assert race(n_levels=3).stops(Curve(blocks=[*good[:2], FAILED]), Rivals(rivals))
    assert not race(n_levels=3).stops(Curve(blocks=good[:3]), Rivals(rivals))


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_asha_decides_at_its_rungs_only(n_epochs):
    rivals = [whole(flat(0.9, n_epochs))]
    ends = {block * n_epochs for block in range(1, N_BLOCKS)}
    first = {max(1, round(share * n_epochs)) for share in RUNGS_IN_FIRST_FOLD}
    for n_levels, rungs in ((1, ends | first), (3, {n for n in ends if n >= LEAST_BLOCKS * n_epochs})):
        found = decisions(race("asha", n_levels=n_levels), flat(0, n_epochs), rivals)
        assert {n for n, stops in enumerate(found, start=1) if stops} == rungs


@pytest.mark.parametrize("kept", [1, 3])
@pytest.mark.parametrize("n_rivals", range(12))
def test_asha_keeps_the_best_third_of_those_at_a_rung(n_rivals, kept):
    n_kept = max(kept, -(-(n_rivals + 1) // 3))
    curve = Curve(blocks=whole(flat(0.5, 4)).blocks[:3])
    for n_better in range(n_rivals + 1):
        better = [Curve(blocks=whole(flat(0.9, 4)).blocks[:3])] * n_better
        worse = [Curve(blocks=whole(flat(0.1, 4)).blocks[:4])] * (n_rivals - n_better)
        assert race("asha", kept, 3).stops(curve, Rivals(better + worse)) == (n_better >= n_kept)


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_matter_when_a_curve_is_looked_at(pruner, seed):
    rng = np.random.default_rng(seed)
    rivals, rules = [whole(scores(rng, 5)) for _ in range(3)], race(pruner, 1, 3)
    curve, seen, found = whole(scores(rng, 5)), 0, None
    at_once = rules.stopped(curve, Rivals(rivals))
    for part in curve.parts():
        if rng.random() < 0.3 or part.n_points == curve.n_points:
            found = rules.stopped(part, Rivals(rivals), seen=seen)
            seen = part.n_points
        if found is not None:
            break
    assert found == at_once
