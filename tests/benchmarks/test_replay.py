from itertools import product

import numpy as np
import pandas as pd
import pytest

from benchmarks.replay import (
    RECORDING,
    Grid,
    RaceReplay,
    Replay,
    best_configuration,
    best_setting,
    load,
    record,
)
from benchmarks.searchers import OURS, app, by_optuna, by_smac, ours, regret_at, searchers, until_within
from search.common.commandline import exit_code
from search.common.errors import InputError
from search.tuning.racing import Race

LEVELS, N_FOLDS, N_EPOCHS = ("a", "b", "c"), 3, 4
PARAMS = tuple({"norm": norm, "lr": lr} for norm, lr in product(("batch", "none"), (0.1, 0.2, 0.3)))


def grid(seed=0):
    """A grid whose quality is a matter of the setting, the level and noise."""
    rng = np.random.default_rng(seed)
    quality = np.array([0.9 - 0.2 * (p["norm"] == "none") - 0.5 * p["lr"] for p in PARAMS])
    cells = quality + rng.normal(0, 0.01, (len(LEVELS), len(PARAMS)))
    noise = rng.normal(0, 0.02, (len(LEVELS), len(PARAMS), N_FOLDS, N_EPOCHS))
    values = cells[..., None, None] * np.linspace(0.5, 1, N_EPOCHS) + noise
    return Grid(LEVELS, PARAMS, values, values[..., -1].mean(axis=2))


def questions(seed=0):
    made, rng = grid(seed), np.random.default_rng(seed)
    return [best_setting(made, 1, rng), best_setting(made, N_FOLDS, rng), best_configuration(made, rng)]


@pytest.mark.parametrize("seed", range(3))
def test_questions_hold_every_score_once_and_judge_by_all_folds(seed):
    made = grid(seed)
    one, whole, configuration = questions(seed)
    assert one.values.shape == (6, 3, N_EPOCHS)
    for question in (whole, configuration):
        assert sorted(question.values.ravel()) == sorted(made.values.ravel())
    assert np.array_equal(one.truth, made.pooled.mean(axis=0))
    for n, params in enumerate(configuration.params):
        level = LEVELS.index(params["level"])
        setting = PARAMS.index({"norm": params["norm"], "lr": params["lr"]})
        assert configuration.truth[n] == made.pooled[level, setting]


@pytest.mark.parametrize("name", [name for name in searchers(smac=False)])
@pytest.mark.parametrize("index", range(3))
def test_every_searcher_spends_no_more_than_the_grid_and_answers_the_question(name, index):
    question = questions()[index]
    searcher = searchers(smac=False)[name]
    replay = searcher(question, 1)
    epochs = [epochs for epochs, _ in replay.trace]
    assert epochs == sorted(epochs)
    assert 0 < replay.epochs <= question.values.size
    assert replay.trace == searcher(question, 1).trace
    assert 0 <= regret_at(replay, 1.0) <= 100 * np.ptp(question.truth)


@pytest.mark.parametrize("seed", range(5))
def test_without_racing_everything_is_trained_and_the_best_mean_is_chosen(seed):
    question = questions(seed)[1]
    replay = ours(question, seed, sampler="random", pruner="none", kept=2)
    assert replay.epochs == question.values.size
    assert replay.trace[-1][1] == question.values[..., -1].mean(axis=1).argmax()
    raced = ours(question, seed, sampler="random", pruner="race", kept=2)
    assert raced.epochs < replay.epochs
    assert raced.trace[0][1] == replay.trace[0][1]  # the same order of candidates


def test_a_race_costs_the_epochs_up_to_the_stop():
    question = questions()[1]
    replay = Replay(question)
    race = RaceReplay(replay, Race(pruner="race", n_blocks=9, kept=1, n_levels=3))
    best, worst = question.truth.argmax(), question.truth.argmin()
    assert race.run(best)
    assert replay.epochs == 9 * N_EPOCHS
    assert not race.run(worst)
    assert 0 < replay.epochs - 9 * N_EPOCHS < 9 * N_EPOCHS
    assert race.whole == [best]


def test_a_block_costs_its_epochs_once():
    replay = Replay(questions()[0])
    assert [replay.train(0, 1), replay.epochs] == [replay.train(0, 1), N_EPOCHS]


def test_regret_counts_what_was_chosen_by_then():
    replay = Replay(questions()[0])
    best, worst = int(replay.question.truth.argmax()), int(replay.question.truth.argmin())
    n = replay.question.n_epochs
    replay.trace = [(n // 10, worst), (n // 2, best)]
    span = 100 * np.ptp(replay.question.truth)
    assert [regret_at(replay, share) for share in (0.05, 0.2, 0.5, 1.0)] == pytest.approx([span, span, 0, 0])
    assert until_within(replay) == (n // 2) / n
    replay.trace.append((n, worst))
    assert until_within(replay) == 1.0


@pytest.mark.parametrize("model", [False, True])
def test_smac_begins_where_the_others_do(model):
    pytest.importorskip("smac")
    for seed in range(4):
        question = questions()[0]
        first = by_optuna(question, seed, sampler="random", pruner="wilcoxon").trace[0][1]
        assert by_smac(question, seed, model=model).trace[0][1] == first


def write_study(folder, made):
    """The tables of a study of a grid, whose first trial failed."""
    rows, trials = [], [{"number": 0, "level": "a", "value": None, "state": "FAIL"}]
    for level, setting in product(range(len(LEVELS)), range(len(PARAMS))):
        number = len(trials)
        place = {"number": number, "level": LEVELS[level]}
        rows += [
            {**place, "phase": phase, "fold": fold, "epoch": epoch + 1, "val_balanced_accuracy": value}
            for phase in ("search", "compare")
            for fold, values in enumerate(made.values[level, setting])
            for epoch, value in enumerate(values)
        ]
        params = {f"params_{name}": value for name, value in PARAMS[setting].items()}
        trials.append({**place, "value": made.pooled[level, setting], "state": "COMPLETE", **params})
    pd.DataFrame(rows).to_parquet(folder / "epochs.parquet")
    pd.DataFrame(trials).to_parquet(folder / "trials.parquet")


def test_a_recording_of_a_study_holds_its_complete_trials_and_is_replayed(tmp_path, capsys):
    made, file = grid(), tmp_path / "recording.parquet"
    write_study(tmp_path, made)
    record(tmp_path).to_parquet(file)
    loaded = load(file)
    assert (set(loaded.levels), len(loaded.params)) == (set(LEVELS), len(PARAMS))
    for setting, params in enumerate(loaded.params):
        original = PARAMS.index(params)
        np.testing.assert_allclose(loaded.values[:, setting], made.values[:, original], rtol=1e-6)
        np.testing.assert_allclose(loaded.pooled[:, setting], made.pooled[:, original], rtol=1e-6)
    assert exit_code(app, ["--recording", str(file), "--seeds", "2", "--without-smac"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in (OURS, "Wilcoxon", "Hyperband"))


def test_the_recorded_grid_is_small_and_whole():
    assert RECORDING.stat().st_size < 300_000
    assert load().values.shape == (8, 12, 5, 10)


def test_what_is_no_recording_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.parquet"):
        load(tmp_path / "none.parquet")
    pd.read_parquet(RECORDING).iloc[1:].to_parquet(tmp_path / "part.parquet")
    with pytest.raises(InputError, match=r"part\.parquet"):
        load(tmp_path / "part.parquet")
