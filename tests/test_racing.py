import numpy as np
import pytest

from search.tuning.racing import (
    EARLY_EPOCH_SHARE,
    EARLY_MARGIN,
    FOLD_MARGIN,
    HALF_EPOCH_SHARE,
    Progress,
    should_stop,
)

N_EPOCHS = (1, 2, 3, 5, 10, 14, 40)


def curves(rng, n_folds, n_epochs):
    """Curves that rise with noise, of a trial of whatever quality."""
    quality = rng.uniform(0.3, 1.0)
    rise = 1 - np.exp(-3 * np.arange(1, n_epochs + 1) / n_epochs)
    return np.clip(quality * rise + rng.normal(0, 0.05, (n_folds, n_epochs)), 0, 1)


def finished(values):
    return Progress([list(map(float, fold)) for fold in values])


def decisions(values, rivals, n_epochs):
    """What is decided after every epoch, were the trial to go on in spite of it."""
    progress = Progress()
    found = []
    for fold, row in enumerate(values):
        for value in row:
            progress.add(fold, float(value))
            found.append(should_stop(progress, rivals, n_epochs))
    return found


def test_progress_holds_what_was_added():
    progress = Progress()
    for fold in range(2):
        for epoch in range(3):
            progress.add(fold, 10 * fold + epoch)
    assert progress.values == [[0, 1, 2], [10, 11, 12]]


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_nobody_is_stopped_without_finished_rivals(n_epochs):
    assert not any(decisions(np.zeros((3, n_epochs)), [], n_epochs))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_the_best_so_far_is_never_stopped(n_epochs, seed):
    rng = np.random.default_rng(seed)
    rivals = [curves(rng, 3, n_epochs) for _ in range(4)]
    at_least_as_good = np.max(rivals, axis=0) + rng.uniform(0, 0.1)
    assert not any(decisions(at_least_as_good, [finished(rival) for rival in rivals], n_epochs))
    best = max(rivals, key=lambda rival: rival[:, -1].mean())
    assert not any(decisions(best, [finished(rival) for rival in rivals], n_epochs))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_what_is_worse_everywhere_is_stopped_no_later(n_epochs, seed):
    rng = np.random.default_rng(seed)
    rivals = [finished(curves(rng, 3, n_epochs)) for _ in range(3)]
    values = curves(rng, 3, n_epochs)
    worse = values - rng.uniform(0, 0.2, values.shape)
    for stopped, also in zip(decisions(values, rivals, n_epochs), decisions(worse, rivals, n_epochs), strict=True):
        assert also or not stopped


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_a_hopeless_one_is_stopped_at_the_early_point(n_epochs):
    rival = finished(np.full((3, n_epochs), 0.9))
    found = decisions(np.full((3, n_epochs), 0.9 - EARLY_MARGIN - 0.01), [rival], n_epochs)
    early = max(1, round(EARLY_EPOCH_SHARE * n_epochs))
    assert found.index(True) == early - 1


@pytest.mark.parametrize("n_epochs", [5, 10, 14, 40])
def test_one_that_is_behind_is_stopped_at_half(n_epochs):
    rival = finished(np.full((3, n_epochs), 0.9))
    found = decisions(np.full((3, n_epochs), 0.75), [rival], n_epochs)
    assert found.index(True) == round(HALF_EPOCH_SHARE * n_epochs) - 1


@pytest.mark.parametrize("n_epochs", N_EPOCHS)
def test_decisions_fall_at_the_two_points_and_at_the_ends_of_folds_only(n_epochs):
    rival = finished(np.full((3, n_epochs), 0.9))
    found = np.reshape(decisions(np.zeros((3, n_epochs)), [rival], n_epochs), (3, n_epochs))
    assert found[:, -1].all()
    assert not found[1:, :-1].any()
    assert found[0, :-1].sum() <= 2


def test_margin_after_a_fold_narrows_with_the_folds():
    rival = finished(np.full((4, 2), 0.9))
    behind = 0.8 * FOLD_MARGIN
    found = decisions(np.full((4, 2), 0.9 - behind), [rival], 2)
    assert found == [False, False, False, True, False, True, False, True]


def test_an_easy_fold_deceives_nobody():
    # The rival's first fold is a hard one: to equal it there is enough, whatever its mean.
    rival = finished([[0.2, 0.4], [0.9, 0.9], [0.9, 0.9]])
    assert not any(decisions(np.array([[0.2, 0.4]]), [rival], 2))


@pytest.mark.parametrize("n_epochs", [4, 10])
def test_rivals_with_another_number_of_epochs_are_ignored(n_epochs):
    others = [finished(np.full((3, n), 0.99)) for n in (1, n_epochs - 1, n_epochs + 1, 2 * n_epochs)]
    hopeless = np.zeros((3, n_epochs))
    assert not any(decisions(hopeless, others, n_epochs))
    poor = finished(np.full((3, n_epochs), 0.1))
    values = np.full((3, n_epochs), 0.2)
    assert decisions(values, [*others, poor], n_epochs) == decisions(values, [poor], n_epochs)


@pytest.mark.parametrize("seed", range(10))
def test_only_the_best_rival_counts(seed):
    rng = np.random.default_rng(seed)
    rivals = [finished(curves(rng, 3, 10)) for _ in range(4)]
    best = max(rivals, key=lambda rival: np.mean([fold[-1] for fold in rival.values]))
    values = curves(rng, 3, 10)
    assert decisions(values, rivals, 10) == decisions(values, [best], 10)


def test_nothing_is_changed():
    rival = finished(np.full((2, 3), 0.9))
    progress = finished([[0.1, 0.2]])
    should_stop(progress, [rival], 3)
    assert progress.values == [[0.1, 0.2]]
    assert rival.values == [[0.9] * 3] * 2
