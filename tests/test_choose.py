import numpy as np
import pytest

from search.choose import best_trials, equal_settings

LEVELS = ("a", "b", "c")


def trial(number, level, value=0.5, state="COMPLETE", **params):
    return {"number": number, "level": level, "value": value, "state": state, "params": params}


def random_trials(seed, n=40):
    rng = np.random.default_rng(seed)
    trials = []
    for number in rng.permutation(n):
        state = str(rng.choice(["COMPLETE", "PRUNED", "FAIL"], p=[0.6, 0.25, 0.15]))
        value = None if state == "FAIL" else float(rng.integers(0, 12)) / 12
        trials.append(trial(int(number), str(rng.choice(LEVELS)), value, state, x=int(rng.integers(4))))
    return trials


@pytest.mark.parametrize("seed", range(30))
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


def test_a_stopped_trial_is_never_the_best():
    assert best_trials([trial(0, "a", 0.9, "PRUNED"), trial(1, "a", 0.1)])["a"]["number"] == 1
    assert best_trials([trial(0, "a", 0.9, "PRUNED"), trial(1, "b", None, "FAIL")]) == {}
    assert best_trials([]) == {}


def test_a_value_of_zero_still_wins_over_none():
    assert best_trials([trial(0, "a", 0.0)])["a"]["value"] == 0.0


def worth(row):
    return 0.0 if row["state"] == "FAIL" else row["value"]


@pytest.mark.parametrize("seed", range(30))
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


def test_levels_that_are_not_asked_about_do_not_matter():
    trials = [trial(0, "a", 0.5, x=1), trial(1, "b", 0.9, x=2), trial(2, "a", 0.4, x=2)]
    assert equal_settings(trials, ("a",)) == {"x": 1}


def test_order_of_the_parameters_does_not_matter():
    trials = [trial(0, "a", 0.5, x=1, y=2), trial(1, "b", 0.5, y=2, x=1)]
    assert equal_settings(trials, ("a", "b")) == {"x": 1, "y": 2}


def test_the_parameters_are_a_copy():
    trials = [trial(0, "a", 0.5, x=1)]
    equal_settings(trials, ("a",))["x"] = 7
    assert trials[0]["params"] == {"x": 1}
