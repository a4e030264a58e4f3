import numpy as np
import pytest

from search.analysis.selection import best_trials, equal_settings, finalists, pareto_front

LEVELS = ("a", "b", "c")


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


def worth(row):
    return 0.0 if row["state"] == "FAIL" else row["value"]


@pytest.mark.parametrize("seed", range(8))
def test_equal_settings_are_the_best_on_average_among_those_tried_everywhere(seed):
    rng = np.random.default_rng(seed)
    trials, number, means = [], 0, {}
    for x in range(6):
        levels = [level for level in LEVELS if rng.random() < 0.8]
        rows = []
        for level in levels:
            state = str(rng.choice(["COMPLETE", "PRUNED", "FAIL"]))
            rows.append(trial(number, level, None if state == "FAIL" else float(rng.random()), state, x=x, y="z"))
            number += 1
        if set(levels) == set(LEVELS):
            means[x] = np.mean([worth(row) for row in rows])
        trials += rows
    chosen = equal_settings([trials[i] for i in rng.permutation(len(trials))], LEVELS)
    if not means:
        assert chosen is None
    else:
        assert chosen == {"x": max(means, key=means.get), "y": "z"}


def test_no_settings_tried_everywhere():
    assert equal_settings([trial(0, "a", x=1), trial(1, "b", x=2)], ("a", "b")) is None
    assert equal_settings([trial(0, "a", x=1)], ("a", "b")) is None
    assert equal_settings([], ("a",)) is None


def test_settings_that_failed_everywhere_are_still_settings():
    failed = [trial(i, level, None, "FAIL", x=1) for i, level in enumerate("ab")]
    assert equal_settings(failed, ("a", "b")) == {"x": 1}
    good = [trial(i, level, 0.1, x=2) for i, level in enumerate("ab")]
    assert equal_settings(failed + good, ("a", "b")) == {"x": 2}
