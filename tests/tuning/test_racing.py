import numpy as np
import pytest

from search.tuning.racing import MARGIN, RUNGS_IN_FIRST_FOLD, WIDE_MARGIN, Curve, should_stop

N_EPOCHS = (1, 2, 5, 14)
N_FOLDS = 4
PRUNERS = ("race", "asha", "none")


def curves(rng, n_folds, n_epochs):
    """Curves that rise with noise, of a trial of whatever quality."""
    quality = rng.uniform(0.3, 1.0)
    rise = 1 - np.exp(-3 * np.arange(1, n_epochs + 1) / n_epochs)
    return np.clip(quality * rise + rng.normal(0, 0.05, (n_folds, n_epochs)), 0, 1)


def complete(values):
    return Curve([list(map(float, fold)) for fold in values], complete=True)


def shown(values, n_shown):
    """The curve of a trial that was stopped, or is running, after so many epochs."""
    curve = Curve()
    for fold, row in enumerate(values):
        for value in row[: max(0, n_shown - fold * len(row))]:
            curve.add(fold, float(value))
    return curve


def decisions(values, level=(), others=(), pruner="race"):
    """What is decided after every epoch but the last, were the trial to go on in spite of it."""
    n_epochs = len(values[0])
    return [
        should_stop(pruner, shown(values, n), level=list(level), others=list(others), n_epochs=n_epochs)
        for n in range(1, len(values) * n_epochs)
    ]


def points(n_epochs, *shares):
    return {max(1, round(share * n_epochs)) for share in shares}


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_nobody_is_stopped_without_rivals(pruner, n_epochs):
    assert not any(decisions(np.zeros((N_FOLDS, n_epochs)), pruner=pruner))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_none_stops_nothing(n_epochs, seed):
    rivals = [complete(np.full((N_FOLDS, n_epochs), 0.9))] * 3
    values = curves(np.random.default_rng(seed), N_FOLDS, n_epochs) - 0.3
    assert not any(decisions(values, rivals, rivals, "none"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_the_best_so_far_is_never_stopped(n_epochs, pruner, seed):
    rng = np.random.default_rng(seed)
    rivals = [curves(rng, N_FOLDS, n_epochs) for _ in range(4)]
    level = [complete(rival) for rival in rivals]
    at_least_as_good = np.max(rivals, axis=0) + rng.uniform(0, 0.1)
    assert not any(decisions(at_least_as_good, level, level, pruner))
    assert not any(decisions(np.max(rivals, axis=0), level, level, pruner))
    best = max(rivals, key=lambda rival: rival[:, -1].mean())
    assert not any(decisions(best, level, level, "race"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_what_is_worse_everywhere_is_stopped_no_later(n_epochs, pruner, seed):
    rng = np.random.default_rng(seed)
    level = [complete(curves(rng, N_FOLDS, n_epochs)) for _ in range(3)]
    level.append(shown(curves(rng, N_FOLDS, n_epochs), 2 * n_epochs))
    others = [complete(curves(rng, N_FOLDS, n_epochs) + 0.2)]
    values = curves(rng, N_FOLDS, n_epochs)
    worse = values - rng.uniform(0, 0.2, values.shape)
    pairs = zip(decisions(values, level, others, pruner), decisions(worse, level, others, pruner), strict=True)
    assert all(also or not stopped for stopped, also in pairs)


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_a_hopeless_one_is_stopped_early(n_epochs):
    level = [complete(np.full((N_FOLDS, n_epochs), 0.9))]
    assert decisions(np.full((N_FOLDS, n_epochs), 0.2), level).index(True) == 0
    rungs = points(n_epochs, *RUNGS_IN_FIRST_FOLD)
    assert decisions(np.full((N_FOLDS, n_epochs), 0.2), level, pruner="asha").index(True) + 1 == min(rungs)


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_asha_decides_at_its_rungs_only(n_epochs):
    level = [complete(np.full((N_FOLDS, n_epochs), 0.9))]
    ends = {fold * n_epochs for fold in range(1, N_FOLDS)}
    found = decisions(np.zeros((N_FOLDS, n_epochs)), level, pruner="asha")
    assert {n for n, stops in enumerate(found, start=1) if stops} == points(n_epochs, *RUNGS_IN_FIRST_FOLD) | ends


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_the_margin_narrows_with_what_is_known(n_epochs):
    level = [complete(np.full((4, n_epochs), 0.9))]
    for n in range(1, 4 * n_epochs):
        margin = MARGIN * (n_epochs / n - 1 / 4) ** 0.5
        for behind, stops in ((margin - 1e-6, False), (margin + 1e-6, True)):
            assert decisions(np.full((4, n_epochs), 0.9 - behind), level)[n - 1] == stops
            assert not any(decisions(np.full((4, n_epochs), 0.9 - behind), level)[: n - 1])


def test_within_the_first_fold_a_race_compares_means_over_the_epochs():
    level = [complete([[0.8] * 10] * 2)]
    dropping = Curve([[0.8] * 4 + [0.6]])
    assert not should_stop("race", dropping, level=level, others=[], n_epochs=10)
    late = Curve([[0.6] * 4 + [0.8]])
    assert should_stop("race", late, level=level, others=[], n_epochs=10)


@pytest.mark.parametrize("pruner", ["race", "asha"])
@pytest.mark.parametrize("n_epochs", [4, 10])
def test_trials_with_another_number_of_epochs_are_no_rivals(n_epochs, pruner):
    strangers = [complete(np.full((N_FOLDS, n), 0.99)) for n in (1, n_epochs - 1, n_epochs + 1, 2 * n_epochs)]
    hopeless = np.zeros((N_FOLDS, n_epochs))
    assert not any(decisions(hopeless, strangers, strangers, pruner))
    poor = [complete(np.full((N_FOLDS, n_epochs), 0.1))]
    values = np.full((N_FOLDS, n_epochs), 0.2)
    assert decisions(values, [*strangers, *poor], pruner=pruner) == decisions(values, poor, pruner=pruner)


@pytest.mark.parametrize("seed", range(10))
def test_in_a_race_only_the_best_rival_counts(seed):
    rng = np.random.default_rng(seed)
    rivals = [complete(curves(rng, 3, 10)) for _ in range(4)]
    best = max(rivals, key=lambda rival: np.mean([fold[-1] for fold in rival.values]))
    values = curves(rng, 3, 10)
    assert decisions(values, rivals) == decisions(values, [best])
    assert decisions(values, (), rivals) == decisions(values, (), [best])


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_other_levels_stop_only_what_is_broken(n_epochs):
    others = [complete(np.full((N_FOLDS, n_epochs), 0.9))]
    a_few_points_worse = np.full((N_FOLDS, n_epochs), 0.9 - WIDE_MARGIN)
    assert not any(decisions(a_few_points_worse, (), others))
    assert any(decisions(a_few_points_worse, others))
    broken = np.full((N_FOLDS, n_epochs), 0.2)
    assert any(decisions(broken, (), others))
    assert not any(decisions(broken, (), others, "asha"))


@pytest.mark.parametrize("n_rivals", range(12))
def test_asha_keeps_the_best_third_of_those_at_a_rung(n_rivals):
    n_kept = max(1, -(-(n_rivals + 1) // 3))
    better = [shown(np.full((2, 4), 0.9), 4) for _ in range(n_rivals)]
    for n_better in range(n_rivals + 1):
        worse = [shown(np.full((2, 4), 0.1), 4) for _ in range(n_rivals - n_better)]
        trial = shown(np.full((2, 4), 0.5), 4)
        stops = should_stop("asha", trial, level=better[:n_better] + worse, others=[], n_epochs=4)
        assert stops == (n_better >= n_kept)
