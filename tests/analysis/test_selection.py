import numpy as np
import pytest

from search.analysis.selection import (
    collapses,
    finalists,
    kept_settings,
    kept_trials,
    pareto_front,
    setting_params,
)

LEVELS = ("a", "b", "c")


def best_trials(trials):
    return {level: kept[0] for level, kept in kept_trials(trials, 1).items()}


def trial(number, level, value=0.5, state="COMPLETE", *, confirmed=None, **params):
    row = {"number": number, "level": level, "value": value, "confirmed_value": confirmed, "state": state}
    return {**row, "params": params}


def random_trials(seed, n=40):
    rng = np.random.default_rng(seed)
    trials = []
    for number in rng.permutation(n):
        state = str(rng.choice(["COMPLETE", "PRUNED", "FAIL"], p=[0.6, 0.25, 0.15]))
        value = None if state == "FAIL" else float(rng.integers(0, 12)) / 12
        trials.append(trial(int(number), str(rng.choice(LEVELS)), value, state, x=int(rng.integers(4))))
    return trials


@pytest.mark.parametrize("seed", range(8))
def test_best_trial_of_a_level_is_its_highest_complete_one(seed):
    trials = random_trials(seed)
    best = best_trials(trials)
    for level in LEVELS:
        complete = [row for row in trials if row["level"] == level and row["state"] == "COMPLETE"]
        assert (level in best) == bool(complete)
        if complete:
            highest = max(row["value"] for row in complete)
            assert best[level]["number"] == min(row["number"] for row in complete if row["value"] == highest)
            assert best[level] in trials
    shuffled = [trials[i] for i in np.random.default_rng(seed).permutation(len(trials))]
    assert best_trials(shuffled) == best
    assert best == {row["level"]: row for row in finalists(trials, 1)}


def ranked(trials, level):
    """The complete trials of a level, best first; of equals, the first."""
    complete = [row for row in trials if row["level"] == level and row["state"] == "COMPLETE"]
    return sorted(complete, key=lambda row: (-row["value"], row["number"]))


@pytest.mark.parametrize("n", [1, 2, 3, 100])
@pytest.mark.parametrize("seed", range(8))
def test_finalists_are_the_best_complete_trials_of_each_level(seed, n):
    trials = random_trials(seed)
    chosen = finalists(trials, n)
    for level in LEVELS:
        assert [row for row in chosen if row["level"] == level] == ranked(trials, level)[:n]
    assert {row["level"] for row in chosen} <= set(LEVELS)
    shuffled = [trials[i] for i in np.random.default_rng(seed).permutation(len(trials))]
    assert sorted(row["number"] for row in finalists(shuffled, n)) == sorted(row["number"] for row in chosen)


@pytest.mark.parametrize("seed", range(8))
def test_of_confirmed_trials_the_confirmed_value_decides(seed):
    rng = np.random.default_rng(seed)
    trials = random_trials(seed)
    for row in finalists(trials, 3):
        if rng.random() < 0.6:  # the others' training failed
            row["confirmed_value"] = float(rng.integers(0, 4)) / 4
    best = best_trials(trials)
    for level, chosen in best.items():
        confirmed = [row for row in ranked(trials, level) if row["confirmed_value"] is not None]
        if confirmed:
            highest = max(row["confirmed_value"] for row in confirmed)
            # Of equals, the one that was better in the search.
            assert chosen is next(row for row in confirmed if row["confirmed_value"] == highest)
        else:
            assert chosen is ranked(trials, level)[0]
    shuffled = [trials[i] for i in rng.permutation(len(trials))]
    assert best_trials(shuffled) == best


def test_a_confirmed_value_of_zero_still_wins_over_none():
    rows = [trial(0, "a", 0.9), trial(1, "a", 0.1, confirmed=0.0)]
    assert best_trials(rows)["a"]["number"] == 1


OBJECTIVES = ({"value": True}, {"value": True, "macs": False}, {"value": True, "macs": False, "f1": True})


def costed(seed, n=40):
    """Trials with costs, many of them equal in some objective."""
    rng = np.random.default_rng(seed)
    extra = [{"macs": int(rng.integers(1, 8)), "f1": float(rng.integers(8)) / 8} for _ in range(n)]
    return [{**row, **costs} for row, costs in zip(random_trials(seed, n), extra, strict=True)]


def dominates(one, other, objectives):
    signed = [(1 if higher else -1, name) for name, higher in objectives.items()]
    gains = [sign * (one[name] - other[name]) for sign, name in signed]
    return min(gains) >= 0 and max(gains) > 0


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda objectives: "+".join(objectives))
@pytest.mark.parametrize("seed", range(8))
def test_the_front_is_what_nothing_dominates(seed, objectives):
    trials = costed(seed)
    complete = [row for row in trials if row["state"] == "COMPLETE"]
    front = pareto_front(trials, objectives)
    numbers = {row["number"] for row in front}
    assert all(row in complete for row in front)
    assert len(numbers) == len(front) > 0
    assert not any(dominates(row, other, objectives) for row in complete for other in front)
    for row in complete:
        if row["number"] not in numbers:
            assert any(dominates(other, row, objectives) for other in front)
    keys = [[row[name] if higher else -row[name] for name, higher in objectives.items()] for row in front]
    assert keys == sorted(keys, reverse=True)
    shuffled = [trials[i] for i in np.random.default_rng(seed).permutation(len(trials))]
    assert {row["number"] for row in pareto_front(shuffled, objectives)} == numbers


def test_a_stopped_trial_is_never_the_best():
    assert best_trials([trial(0, "a", 0.9, "PRUNED"), trial(1, "a", 0.1)])["a"]["number"] == 1
    assert best_trials([trial(0, "a", 0.9, "PRUNED"), trial(1, "b", None, "FAIL")]) == {}
    assert best_trials([]) == {}
    assert finalists([], 3) == pareto_front([], {"value": True}) == []


def crossed(values, states=None):
    """Trials of settings at every level: setting -> its value at each level."""
    rows = []
    for setting, own in values.items():
        for place, (level, value) in enumerate(zip(LEVELS, own, strict=True)):
            state = (states or {}).get((setting, level), "COMPLETE")
            row = trial(setting * len(LEVELS) + place, level, value, state, x=setting)
            rows.append({**row, "setting": setting})
    return rows


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_settings_are_kept_by_their_mean_over_the_levels(seed, n):
    rng = np.random.default_rng(seed)
    values = {setting: rng.random(len(LEVELS)).tolist() for setting in range(6)}
    kept = kept_settings(crossed(values), n)
    assert kept == sorted(values, key=lambda setting: -np.mean(values[setting]))[:n]
    trials = crossed(values)
    assert kept_settings([trials[i] for i in rng.permutation(len(trials))], n) == kept
    for level, params in setting_params(trials, kept[0]).items():
        assert level in LEVELS
        assert params == {"x": kept[0]}


def test_a_setting_that_was_dropped_is_not_kept_however_good_its_other_levels_were():
    values = {0: (0.5, 0.5, 0.5), 1: (0.9, 0.9, 0.9), 2: (0.4, 0.4, 0.4)}
    assert kept_settings(crossed(values, {(1, "b"): "PRUNED"}), 2) == [0, 2]
    # A level that fails at every setting leaves the others comparable.
    failed = {(setting, "c"): "FAIL" for setting in values}
    assert kept_settings(crossed(values, failed), 2) == [1, 0]
    assert set(setting_params(crossed(values, failed), 1)) == {"a", "b"}
    assert kept_settings([], 2) == []


def test_a_setting_that_collapses_at_one_level_is_named():
    values = {0: (0.5, 0.5, 0.5), 1: (0.9, 0.1, 0.9), 2: (0.6, 0.2, 0.4), 3: (0.55, 0.5, 0.5)}
    trials = crossed(values)
    kept = kept_settings(trials, 1)
    assert kept == [1]
    assert collapses(trials, kept) == []
    values[1] = (0.7, 0.05, 0.7)
    trials = crossed(values)
    assert kept_settings(trials, 1) == [3]
    assert collapses(trials, [3]) == [(1, "b")]
