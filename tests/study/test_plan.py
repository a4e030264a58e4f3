from dataclasses import replace

import numpy as np
import pytest
from plans import NAMES, PLACEMENT, SPACES, request

from search.common.errors import InputError
from search.study.forecast import disk_mb
from search.study.plan import QUICK_COST_PER_S, QUICK_S, QUICK_SGD_S, make_plan, search_partition

PHASES = ("search", "confirm", "compare", "test", "transfer")
OWN = replace(PLACEMENT, settings="own", effects=())


def random_request(seed):
    rng = np.random.default_rng(seed)
    return request(
        profile_name=rng.choice(["quick", "paper"]),
        synthetic=bool(rng.integers(2)),
        n_images=int(10 ** rng.uniform(1.5, 5)),
        n_target=None if rng.integers(2) else int(10 ** rng.uniform(1.5, 4)),
        n_trials=None if rng.integers(2) else int(rng.integers(1, 100)),
        search_folds=None if rng.integers(2) else int(rng.integers(2, 6)),
        compare_settings=int(rng.integers(1, 4)),
        folds=int(rng.integers(2, 12)),
        repeats=int(rng.integers(1, 4)),
        control=bool(rng.integers(2)),
    )


def of_one_level(space):
    """The space with its first level alone, which plans faster."""
    return replace(space, levels=space.levels[:1], effects=())


@pytest.mark.parametrize("n_trials", [1, 8, 9, 100])
@pytest.mark.parametrize("name", NAMES)
def test_trials_are_rounded_up_to_a_multiple_of_the_levels(name, n_trials):
    space = replace(SPACES[name], quick=SPACES[name].quick[-1:])
    plan = make_plan(space, request(n_trials=n_trials))
    n_levels = len(space.levels)
    assert plan.n_trials % n_levels == 0
    assert n_trials <= plan.n_trials < n_trials + n_levels


def test_drawn_cells_are_not_trained_in_the_smallest_networks():
    # The planned cost lies just below the budget; with the next smaller profile the levels score lower.
    plan = make_plan(PLACEMENT, request(n_images=400, n_target=250))
    assert plan.profile == PLACEMENT.quick[-2]


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_does_what_was_requested(seed):
    asked = random_request(seed)
    plan = make_plan(PLACEMENT, asked)
    assert plan == make_plan(PLACEMENT, asked)
    profile, n_levels = plan.profile, len(PLACEMENT.levels)
    assert plan.profile_name == asked.profile_name
    assert profile in ((PLACEMENT.paper,) if asked.profile_name == "paper" else PLACEMENT.quick)
    if asked.n_trials is None:
        assert plan.n_trials == n_levels * profile.settings
    assert plan.search_folds == (asked.search_folds or 1)
    n_settings = plan.n_trials // n_levels
    assert plan.most_runs == asked.repeats * min(asked.compare_settings, n_settings)
    assert plan.looks == (plan.most_runs,)
    assert (plan.folds, plan.repeats) == (asked.folds, asked.repeats)

    phases = {phase.name: phase for phase in plan.phases}
    folds = asked.folds * asked.repeats
    in_runs = (n_levels + asked.control) * plan.most_runs
    trainings = {"search": plan.n_trials * plan.search_folds, "compare": (in_runs + 2) * asked.folds, "test": 1}
    if asked.n_target:
        trainings |= {"test": 3, "transfer": 3 * 3 * folds}
    assert {name: phase.trainings for name, phase in phases.items()} == trainings
    assert list(phases) == [name for name in PHASES if name in trainings]
    of_paper = {"search": 0, "compare": 2 * asked.folds, "test": 2 if asked.n_target else 0, "transfer": 6 * folds}
    more = 1 if profile.optimizer == "adamw" else 0
    for phase in plan.phases:
        assert phase.cost > 0
        epochs = profile.transfer_epochs if phase.name == "transfer" else profile.epochs
        assert phase.epochs == (phase.trainings + more * of_paper[phase.name]) * epochs
    assert plan.cost == pytest.approx(sum(phase.cost for phase in plan.phases))
    assert disk_mb(plan, asked) > 0


@pytest.mark.parametrize("own", [1, 3])
@pytest.mark.parametrize("wanted", [None, 1, 2, 50])
@pytest.mark.parametrize("n_trials", [None, 2, 9])
def test_finalists_are_confirmed_where_there_are_several(own, wanted, n_trials):
    space = replace(OWN, levels=OWN.levels[:2])
    profile = replace(space.quick[-1], finalists=own)
    space = replace(space, quick=(profile,))
    plan = make_plan(space, request(n_trials=n_trials, finalists=wanted))
    per_level = plan.n_trials // 2
    assert plan.finalists == min(wanted or own, per_level)
    costs = {phase.name: phase.cost for phase in plan.phases}
    assert ("confirm" in costs) == (plan.finalists > 1)
    if plan.finalists > 1:
        assert costs["confirm"] == pytest.approx(costs["search"] * plan.finalists / per_level)
        fewer = make_plan(space, request(n_trials=n_trials, finalists=1))
        assert disk_mb(plan, request()) > disk_mb(fewer, request())
        assert plan.cost == pytest.approx(fewer.cost + costs["confirm"])


@pytest.mark.parametrize("name", ["quick", "paper"])
@pytest.mark.parametrize("profile", [PLACEMENT.paper, *PLACEMENT.quick, replace(PLACEMENT.paper, epochs=3)])
def test_a_resumed_study_keeps_its_profile(name, profile):
    # Whatever it costs: more trials or repeats must not choose a poorer one.
    space = of_one_level(PLACEMENT)
    asked = request(profile_name=name, profile=profile, n_images=10**6, n_trials=500, repeats=9)
    plan = make_plan(space, asked)
    assert plan.profile is profile
    assert plan.profile_name == name
    assert (plan.n_trials, plan.repeats) == (500, 9)
    chosen = make_plan(replace(space, quick=(profile,)), replace(asked, profile=None, profile_name="quick"))
    assert replace(chosen, profile_name=name) == plan


@pytest.mark.parametrize(("n_levels", "folds"), [(1, 8), (2, 4), (3, 3), (5, 2), (8, 1)])
def test_a_shared_setting_is_scored_at_least_eight_times(n_levels, folds):
    space = replace(PLACEMENT, levels=PLACEMENT.levels[:n_levels], effects=())
    plan = make_plan(space, request())
    assert plan.search_folds == folds
    assert search_partition(folds, shared=True) >= max(5, folds)


@pytest.mark.parametrize(("most", "looks"), [(2, (2,)), (4, (2, 4)), (5, (2, 4, 5)), (8, (2, 4, 6, 8))])
def test_a_study_that_runs_until_it_is_settled_looks_after_every_two_runs(most, looks):
    plan = make_plan(PLACEMENT, request(most_runs=most))
    assert (plan.most_runs, plan.looks) == (most, looks)


@pytest.mark.parametrize(
    ("space", "asked", "culprit"),
    [
        (PLACEMENT, {"finalists": 2}, "--finalists 2"),
        (OWN, {"search_folds": 1}, "--search-folds 1"),
        (SPACES["wbcsnet2"], {"control": True}, "--control"),
    ],
)
def test_what_a_space_does_not_allow_is_refused(space, asked, culprit):
    with pytest.raises(InputError, match=culprit):
        make_plan(space, request(**asked))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["residual_placement", "shift"])
def test_quick_takes_the_richest_profile_that_fits(name, seed):
    rng = np.random.default_rng(seed)
    space = of_one_level(SPACES[name])
    synthetic = bool(rng.integers(2))
    asked = request(
        synthetic=synthetic, n_images=int(10 ** rng.uniform(2, 5)), n_target=int(rng.integers(50, 500))
    )
    longest_s = QUICK_SGD_S if name == "shift" else QUICK_S
    budget = longest_s["synthetic" if synthetic else "own"] * QUICK_COST_PER_S
    alone = [make_plan(replace(space, quick=(profile,)), asked) for profile in space.quick]
    fitting = [plan for plan in alone if plan.cost <= budget]
    assert make_plan(space, asked) == (fitting[0] if fitting else alone[-1])


@pytest.mark.parametrize("name", NAMES)
def test_more_to_do_never_gives_a_richer_profile(name):
    space = of_one_level(SPACES[name])
    space = replace(space, quick=space.quick[::2] + space.quick[-1:])
    chosen = [space.quick.index(make_plan(space, request(n_images=2**n)).profile) for n in range(6, 22)]
    assert chosen == sorted(chosen)
    assert chosen[0] == 0
    assert space.quick[chosen[-1]] == space.quick[-1]


@pytest.mark.parametrize(
    "field",
    ["n_images", "n_target", "n_trials", "search_folds", "finalists", "compare_settings", "folds", "repeats"],
)
def test_more_of_anything_costs_more(field):
    space = of_one_level(OWN)
    given = {
        "n_images": 500,
        "n_target": 300,
        "n_trials": 4,
        "search_folds": 3,
        "finalists": 2,
        "folds": 4,
        "compare_settings": 2,
    }
    few = request(profile_name="paper", repeats=2, **given)
    more = replace(few, **{field: 2 * getattr(few, field)})
    assert make_plan(space, more).cost > make_plan(space, few).cost


def test_paper_profile_is_that_of_the_paper():
    for space in SPACES.values():
        plan = make_plan(of_one_level(space), request(profile_name="paper", n_images=10**6))
        assert plan.profile is space.paper
        assert (plan.profile.epochs, plan.profile.width) == (40, 1.0)
        assert max(plan.profile.input_px) == 70
