from itertools import product

import numpy as np
import pandas as pd
import pytest

import benchmarks.replay as replays
from benchmarks.racing import RECORDING, Found, app, extract_recording, in_random_order, regret_at, sampled_search
from benchmarks.replay import (
    Recorded,
    Replay,
    as_one_level,
    by_level,
    load,
    mean_regret,
    n_epochs,
    replay,
    round_the_levels,
)
from search.common.commandline import exit_code
from search.tuning.racing import should_stop

PRUNERS = ("race", "asha", "none")
N_FOLDS, N_EPOCHS = 3, 4


def recording(seed=0, levels=("a", "b", "c")):
    """A grid of six points per level; quality is a matter of the point, the level and noise."""
    rng = np.random.default_rng(seed)
    trials = []
    for level, (norm, lr) in product(levels, product(("batch", "none"), (0.1, 0.2, 0.3))):
        quality = 0.9 - rng.uniform(0, 0.1) - 0.2 * (norm == "none") - 0.3 * (lr == 0.3)
        values = quality * np.linspace(0.5, 1, N_EPOCHS) + rng.normal(0, 0.02, (N_FOLDS, N_EPOCHS))
        value = float(values[:, -1].mean() + rng.normal(0, 0.002))
        trials.append(Recorded(level, {"norm": norm, "lr": lr}, values.tolist(), value))
    return trials


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("seed", range(3))
def test_pruners_spend_less_and_every_level_chooses_from_its_own(seed, pruner, one):
    trials = as_one_level(recording(seed)) if one else recording(seed)
    done = replay(in_random_order(trials, seed), pruner)
    assert done.best.keys() == by_level(trials).keys()
    for level, of_level in by_level(trials).items():
        assert done.best[level] in {trial.value for trial in of_level}
    if pruner == "none":
        assert done.epochs == n_epochs(trials) == 18 * N_FOLDS * N_EPOCHS
        assert mean_regret(trials, done.best) == 0
    else:
        assert done.epochs < n_epochs(trials)
        assert mean_regret(trials, done.best) >= 0


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_cost_is_the_epochs_shown(pruner, monkeypatch):
    shown = []

    def watched(pruner, progress, *, level, others, n_epochs):
        shown.append(sum(map(len, progress.values)))
        assert progress not in level
        assert all(other.complete for other in others)
        return should_stop(pruner, progress, level=level, others=others, n_epochs=n_epochs)

    monkeypatch.setattr(replays, "should_stop", watched)
    done = Replay(pruner)
    for trial in in_random_order(recording(), 1):
        shown.clear()
        before = done.epochs
        outcome = done.run(trial)
        # The last epoch of all is not asked about.
        assert shown == list(range(1, outcome.epochs + 1 - outcome.complete))
        assert done.epochs - before == outcome.epochs


def test_a_level_is_protected_from_others_when_its_last_trial_comes():
    good, bad = (
        [Recorded(level, {"lr": lr}, [[value] * N_EPOCHS] * N_FOLDS, value) for lr in (0.1, 0.2)]
        for level, value in (("good", 0.9), ("bad", 0.2))
    )
    done = Replay("race")
    assert done.run(good[0]).complete
    assert not done.run(bad[0]).complete
    assert done.run(bad[1], last=True).complete
    assert not done.run(bad[1], last=True).complete
    assert done.best == {"good": 0.9, "bad": 0.2}


def test_levels_take_turns():
    trials = recording()
    order = round_the_levels(trials)
    assert [trial.level for trial in order] == ["a", "b", "c"] * 6
    assert by_level(order) == by_level(trials)
    uneven = round_the_levels([trials[0], trials[1], trials[6]])
    assert uneven == [trials[0], trials[6], trials[1]]


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("pruner", ["none", "race"])
def test_a_sampled_search_spends_no_more_than_the_grid(sampler, pruner, one):
    trials = as_one_level(recording()) if one else recording()
    found = sampled_search(trials, sampler, pruner, seed=1)
    epochs = [state.epochs for state in found]
    assert epochs == sorted(epochs)
    assert 0 < epochs[-1] <= n_epochs(trials)
    assert found == sampled_search(trials, sampler, pruner, seed=1)
    regrets = [regret_at(trials, found, share) for share in (0.1, 0.3, 0.5, 1)]
    assert regrets == sorted(regrets, reverse=True)
    assert regrets[-1] >= 0


def test_regret_at_a_share_counts_what_was_complete_by_then():
    trials = [Recorded("a", {"lr": lr}, [[value]], value) for lr, value in ((1, 0.5), (2, 0.7), (3, 0.8))]
    found = [Found(1, {"a": 0.7}), Found(2, {"a": 0.7}), Found(3, {"a": 0.8})]
    assert [round(regret_at(trials, found, share), 6) for share in (0.1, 0.4, 0.9, 1.0)] == [30, 10, 10, 0]


def write_study(folder, trials):
    """The tables of a study of these trials, the first of which failed."""
    rows = [
        {"phase": phase, "number": number, "level": trial.level, "fold": fold, "epoch": epoch}
        | {"val_balanced_accuracy": value, "val_loss": 1.0}
        for phase in ("search", "compare")
        for number, trial in enumerate(trials)
        for fold, values in enumerate(trial.values)
        for epoch, value in enumerate(values)
    ]
    pd.DataFrame(rows).to_parquet(folder / "epochs.parquet")
    pd.DataFrame(
        {"number": number, "level": trial.level, "value": trial.value, "state": "COMPLETE" if number else "FAIL"}
        | {f"params_{name}": value for name, value in trial.params.items()}
        for number, trial in enumerate(trials)
    ).to_parquet(folder / "trials.parquet")
    return folder


def test_a_recording_of_a_study_holds_its_complete_trials_and_is_replayed(tmp_path, capsys):
    trials, file = recording(levels=("a", "b")), tmp_path / "recording.parquet"
    extract_recording(write_study(tmp_path, [trials[0], *trials])).to_parquet(file)
    loaded = load(file)
    assert [(trial.level, trial.params) for trial in loaded] == [(t.level, t.params) for t in trials]
    for trial, original in zip(loaded, trials, strict=True):
        np.testing.assert_allclose(trial.values, original.values, rtol=1e-6)
        assert trial.value == pytest.approx(original.value, rel=1e-6)
    assert exit_code(app, ["--recording", str(file), "--orders", "2", "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    for word in ("race", "asha", "random", "tpe", "each level", "one search"):
        assert word in printed


def test_the_recorded_grid_is_small_and_can_be_read():
    assert RECORDING.stat().st_size < 300_000
    assert len(by_level(load(RECORDING))) == 8


def test_a_missing_recording_is_named(tmp_path, capsys):
    assert exit_code(app, ["--recording", str(tmp_path / "none.parquet")]) == 2
    assert "none.parquet" in capsys.readouterr().err
