from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import InputError
from search.space import (
    PAPER_PROFILE,
    Configuration,
    FixedSuggester,
    RandomSuggester,
    Space,
    TrainingConfig,
    sample,
)
from search.space.load import load_space
from search.study.plan import (
    PAPER_LEVELS,
    QUICK_COST_PER_S,
    QUICK_S,
    Request,
    costs_after_comparison,
    disk_mb,
    input_sides,
    largest_configurations,
    level_configuration,
    make_plan,
    paper_configuration,
    search_partition,
    typical_configuration,
)
from search.training.cost import image_cost, training_cost
from wbcmodels.config import PAPER_WBCSNET, PAPER_WBCSNET2, ModelConfig

NAMES = sorted(p.stem for p in (Path(__file__).parents[2] / "spaces").glob("*.py") if p.stem != "__init__")
SPACES = {name: load_space(name)[1] for name in NAMES}
PLACEMENT = SPACES["residual_placement"]
OWN = replace(PLACEMENT, settings="own", effects=())


def request(**changes):
    return replace(
        Request(
            profile_name="quick",
            synthetic=True,
            n_images=1000,
            n_classes=5,
            n_target=None,
            n_trials=None,
            search_folds=None,
            finalists=None,
            compare_settings=2,
            folds=10,
            repeats=1,
            most_runs=None,
            control=False,
        ),
        **changes,
    )


PHASES = ("search", "confirm", "compare", "test", "transfer")


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
    for phase in plan.phases:
        assert phase.cost > 0
        epochs = profile.transfer_epochs if phase.name == "transfer" else profile.epochs
        assert phase.epochs == phase.trainings * epochs
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
def test_quick_takes_the_richest_profile_that_fits(seed):
    rng = np.random.default_rng(seed)
    space = PLACEMENT
    synthetic = bool(rng.integers(2))
    asked = request(
        synthetic=synthetic, n_images=int(10 ** rng.uniform(2, 5)), n_target=int(rng.integers(50, 500))
    )
    budget = QUICK_S["synthetic" if synthetic else "own"] * QUICK_COST_PER_S
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


@pytest.mark.parametrize("name", NAMES)
def test_before_the_winner_is_known_any_level_may_be_trained_to_the_end(name):
    space = SPACES[name]
    plan = make_plan(space, request(n_target=300))
    largest = {
        level: c for level, c in largest_configurations(space, plan.profile, 5).items() if level in space.levels
    }
    dearest = max(plan.costs, key=plan.costs.__getitem__)
    phases = {phase.name: phase for phase in plan.phases}
    every = costs_after_comparison(plan, list(largest.items()), 5)
    assert set(every) == {"test", "transfer"}
    for name, costs in costs_after_comparison(plan, [(dearest, largest[dearest])], 5).items():
        assert sum(costs.values()) == pytest.approx(phases[name].cost)
        assert set(every[name]) == {*largest, *space.paper_levels}
        assert sum(every[name].values()) <= phases[name].cost * (1 + 1e-9)


def test_paper_profile_is_that_of_the_paper():
    for space in SPACES.values():
        plan = make_plan(of_one_level(space), request(profile_name="paper", n_images=10**6))
        assert plan.profile is space.paper
        assert (plan.profile.epochs, plan.profile.width) == (40, 1.0)
        assert max(plan.profile.input_px) == 70


@pytest.mark.parametrize("profile", [PLACEMENT.paper, *PLACEMENT.quick])
def test_paper_networks_take_a_profiles_size_and_nothing_else(profile):
    for level, network in zip(PAPER_LEVELS, (PAPER_WBCSNET, PAPER_WBCSNET2), strict=True):
        configuration = paper_configuration(level, profile)
        assert replace(configuration.model, width=1.0, input_px=70) == network
        assert (configuration.model.width, configuration.model.input_px) == (profile.width, max(profile.input_px))
        training = configuration.training
        assert (training.epochs, training.lr, training.batch_size) == (profile.epochs, 0.001, 32)
        assert (training.schedule, training.class_weighting) == ("constant", "none")
        # Parameters, whichever, do not touch it.
        assert level_configuration(PLACEMENT, level, profile, {"norm": "group"}) == configuration


@pytest.mark.parametrize("name", NAMES)
def test_level_configuration_needs_every_parameter(name):
    space = SPACES[name]
    profile = space.quick[0]
    for level in space.levels:
        drawn = {}

        class Remembering(RandomSuggester):
            def suggest_float(self, name, *args, drawn=drawn, **options):
                return drawn.setdefault(name, super().suggest_float(name, *args, **options))

            def suggest_categorical(self, name, choices, drawn=drawn):
                return drawn.setdefault(name, super().suggest_categorical(name, choices))

        configuration = space.configure(Remembering(0), level, profile)
        assert level_configuration(space, level, profile, drawn) == configuration
        for missing in drawn:
            rest = {key: value for key, value in drawn.items() if key != missing}
            with pytest.raises(KeyError, match=missing):
                level_configuration(space, level, profile, rest)


@pytest.mark.parametrize("seed", range(4))
def test_cost_is_positive_and_adds_up(seed):
    rng = np.random.default_rng(seed)
    space = SPACES[NAMES[seed % len(NAMES)]]
    configuration = sample(space, space.levels[0], space.quick[0], seed + 1)[-1]
    a, b, v, w = rng.integers(1, 10**4, 4)
    assert image_cost(configuration, 5) > 0
    whole = training_cost(configuration, 5, a + b, v + w)
    assert whole == pytest.approx(training_cost(configuration, 5, a, v) + training_cost(configuration, 5, b, w))
    assert training_cost(configuration, 5, a, v) > training_cost(configuration, 5, a, 0) > 0
    twice = replace(configuration, training=replace(configuration.training, epochs=2 * space.quick[0].epochs))
    assert training_cost(twice, 5, a, v) == pytest.approx(2 * training_cost(configuration, 5, a, v))


@pytest.mark.parametrize("name", NAMES)
def test_largest_configuration_is_no_smaller_than_any_other(name):
    space, profile = SPACES[name], SPACES[name].quick[0]
    largest = largest_configurations(space, profile, 5)
    assert list(largest) == [*space.levels, *PAPER_LEVELS]
    for level in space.levels:
        assert all(image_cost(c, 5) <= image_cost(largest[level], 5) for c in sample(space, level, profile, 40))
    costs = sorted(image_cost(largest[level], 5) for level in space.levels)
    assert image_cost(typical_configuration(space, profile, 5), 5) <= costs[-1]


@pytest.mark.parametrize("name", NAMES)
def test_input_sides_cover_every_configuration(name):
    space = SPACES[name]
    for profile in (space.paper, *space.quick):
        sides = input_sides(space, profile)
        assert list(sides) == sorted(set(sides))
        asked = [c for level in space.levels for c in sample(space, level, profile, 60)]
        asked += [level_configuration(space, level, profile, {}) for level in PAPER_LEVELS]
        for level in space.levels:
            asked += [
                space.configure(FixedSuggester(params), level, profile)
                for params in space.first_points(level, profile)
            ]
        assert {configuration.model.input_px for configuration in asked} <= set(sides)


def own_space(ask_side, **changes):
    """A space that chooses its input side itself, whatever the profile lists."""

    def configure(suggest, level, profile):
        return Configuration(
            model=ModelConfig(placement=level, width=profile.width, input_px=ask_side(suggest)),
            training=TrainingConfig(epochs=profile.epochs, lr=0.01),
        )

    return Space(question="own?", configure=configure, levels=("none", "1"), **changes)


def test_input_sides_include_those_that_a_space_chooses_itself():
    space = own_space(lambda suggest: suggest.suggest_categorical("side", (20, 24, 44)))
    assert {20, 24, 44} <= set(input_sides(space, PAPER_PROFILE))
    space = own_space(
        lambda suggest: suggest.suggest_int("side", 16, 512), first_points=lambda *_: ({"side": 333},)
    )
    assert 333 in input_sides(space, PAPER_PROFILE)
