import dataclasses
import json
import math
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import optuna
import pytest

import search.space
from search.common.errors import InputError
from search.space import Configuration, FixedSuggester, RandomSuggester, TrainingConfig, sample
from search.spacefile import load_space
from search.study.networks import check_networks
from wbcmodels.config import ModelConfig

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in (ROOT / "spaces").glob("*.py") if path.stem != "__init__")
SPACES = {name: load_space(name)[1] for name in NAMES}
LEVELS = [
    pytest.param(space, level, id=f"{name}-{level}") for name, space in SPACES.items() for level in space.levels
]
OWN = """
from search.space import Configuration, Profile, Space, TrainingConfig
from wbcmodels.config import ModelConfig

PROFILE = Profile(
    width=0.125, epochs=2, transfer_epochs=2, input_px=(24,), lr=(0.001, 0.1), trials_per_level=2, search_folds=2
)

def configure(suggest, level, profile):
    norm = suggest.suggest_categorical("norm", ("batch", "group", "none"))
    # A conditional parameter: only networks with group norm have dropout.
    dropout = suggest.suggest_float("group_dropout", 0.1, 0.5) if norm == "group" else 0.0
    return Configuration(
        model=ModelConfig(placement=level, norm=norm, dropout=dropout, width=profile.width, input_px=24),
        training=TrainingConfig(epochs=profile.epochs, lr=suggest.suggest_float("lr", *profile.lr, log=True)),
    )

SPACE = Space(
    question="own", factor="placement", levels=("none", "1"), reference="none",
    configure=configure, paper=PROFILE, quick=(PROFILE,),
)
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", value) for value in (0, 2.0)),
        ("batch_size", 0),
        *(("lr", value) for value in (-0.1, math.inf, math.nan)),
        ("weight_decay", -1e-4),
        ("optimizer", "adam"),
        ("schedule", "linear"),
        ("class_weighting", "sqrt"),
        ("trained", "tail"),
        *((name, value) for name in ("momentum", "label_smoothing", "ema_decay") for value in (-0.1, 1.0)),
        *(("clip_norm", value) for value in (0.0, -1.0, math.inf)),
    ],
)
def test_a_wrong_value_of_a_training_is_refused_by_field_and_value(name, value):
    with pytest.raises(ValueError, match=name) as caught:
        TrainingConfig(**{"epochs": 1, "lr": 0.1} | {name: value})
    assert str(value) in str(caught.value)


def test_the_network_in_the_readme_is_a_space_that_works(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    _, space = load_space(write(tmp_path, code))
    (note,) = check_networks("mine.py", space, space.quick, 5, transfers=True)
    assert "last linear layer" in note


def write(folder, text, name="own.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(name_or_path):
    """The one-line message with which a space is refused; it names the space."""
    with pytest.raises(InputError) as caught:
        load_space(name_or_path)
    assert str(caught.value).startswith(f"--space {name_or_path}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Recorder(RandomSuggester):
    """Draws at random and records the parameters."""

    def __init__(self, seed):
        super().__init__(seed)
        self.asked = {}

    def suggest_float(self, name, low, high, **options):
        self.asked[name] = super().suggest_float(name, low, high, **options)
        assert low <= self.asked[name] <= high
        return self.asked[name]

    def suggest_categorical(self, name, choices):
        self.asked[name] = super().suggest_categorical(name, choices)
        return self.asked[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_space_loads_by_name_and_by_path(name):
    loaded, space = load_space(name)
    assert loaded == load_space(str(ROOT / "spaces" / f"{name}.py"))[0] == name
    assert space.question.endswith("?")
    assert (space.factor is None) == (space.levels == ("all",))


@pytest.mark.parametrize(("space", "level"), LEVELS)
def test_configurations_depend_on_the_parameters_only_and_fit_the_profile(space, level):
    for profile in (space.paper, *space.quick):
        for seed in range(5):
            suggester = Recorder(seed)
            configuration = space.configure(suggester, level, profile)
            assert isinstance(configuration, Configuration)
            assert configuration.training.epochs <= profile.epochs
            if isinstance(configuration.model, ModelConfig):
                assert configuration.model.width == profile.width
                assert configuration.model.input_px in profile.input_px
                assert configuration.training.epochs == profile.epochs
                assert profile.lr[0] <= configuration.training.lr <= profile.lr[1]
            assert space.configure(FixedSuggester(suggester.asked), level, profile) == configuration
        assert len({repr(configuration) for configuration in sample(space, level, profile, 5)}) > 1
        assert sample(space, level, profile, 7)[:5] == sample(space, level, profile, 5)


@pytest.mark.parametrize(("space", "level"), LEVELS)
def test_optuna_can_search_a_space_and_try_its_first_points(space, level):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for profile in (space.paper, *space.quick):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        configuration = space.configure(trial, level, profile)
        assert space.configure(FixedSuggester(trial.params), level, profile) == configuration
        for params in space.first_points(level, profile):
            # Optuna warns of a value out of range, and refuses one that is not a choice.
            fixed = optuna.trial.FixedTrial(params)
            assert space.configure(fixed, level, profile) == space.configure(
                FixedSuggester(params), level, profile
            )
            assert set(fixed.params) == set(params)


@pytest.mark.parametrize("name", [name for name in NAMES if SPACES[name].factor is not None])
def test_every_level_is_a_different_configuration(name):
    space = SPACES[name]
    for profile in (space.paper, *space.quick):
        for seed in range(5):
            levels = {repr(space.configure(RandomSuggester(seed), level, profile)) for level in space.levels}
            assert len(levels) == len(space.levels)


@pytest.mark.parametrize("name", [name for name in NAMES if SPACES[name].effects])
def test_effects_split_the_levels_into_halves_that_cross(name):
    space = SPACES[name]
    assert space.groups == (space.levels,)
    for effect in space.effects:
        assert set(effect.levels) < set(space.levels)
        assert 2 * len(effect.levels) == len(space.levels)
        for other in space.effects:
            if other is not effect:
                assert 4 * len({*effect.levels} & {*other.levels}) == len(space.levels)


def test_levels_are_searched_together_where_they_share_settings():
    space = SPACES["residual_placement"]
    own = dataclasses.replace(space, settings="own")
    assert own.groups == tuple((level,) for level in space.levels)
    assert dataclasses.replace(space, factor=None).groups == own.groups


@pytest.mark.parametrize("name", NAMES)
def test_profiles_go_from_large_to_small(name):
    quick = SPACES[name].quick
    for profile in (SPACES[name].paper, *quick):
        assert list(profile.input_px) == sorted(set(profile.input_px))
        assert 0 < profile.lr[0] < profile.lr[1]
        assert profile.trials_per_level >= 2
        assert profile.search_folds >= 2
    for larger, smaller in pairwise(quick):
        for name_ in ("width", "epochs", "trials_per_level"):
            assert getattr(larger, name_) >= getattr(smaller, name_)
        assert max(larger.input_px) >= max(smaller.input_px)
        assert larger != smaller


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("search.space, wbcmodels.cost", {"torch", "ray", "optuna", "pandas", "numpy", "sklearn"}),
        (
            "search.data.sources, search.training.types, search.training.checkpoint, search.training.trainedmodel",
            {"torch", "ray", "optuna", "pandas", "sklearn", "tifffile"},
        ),
    ],
)
def test_what_the_driver_imports_is_light(modules, absent):
    code = f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in json.loads(done.stdout)} & absent


def test_a_random_suggester_keeps_to_the_range():
    for seed in range(20):
        suggester = RandomSuggester(seed)
        assert 0.1 <= suggester.suggest_float("x", 0.1, 0.2, log=True) <= 0.2
        assert suggester.suggest_int("n", 3, 9, step=3) in (3, 6, 9)
        assert suggester.suggest_int("n", 4, 4) == 4
        assert suggester.suggest_categorical("c", ("a", "b")) in ("a", "b")


def test_a_fixed_suggester_names_what_is_missing():
    with pytest.raises(KeyError, match=r"^'lr'$"):
        FixedSuggester({"norm": "batch"}).suggest_float("lr", 0, 1)


def test_a_space_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPACES["residual_placement"].factor = None


# A user's own file


def test_the_example_in_the_documentation_is_a_space(tmp_path):
    text = search.space.__doc__
    example = text[text.index("    from search.space") : text.index("`spaces/` holds")]
    name, space = load_space(write(tmp_path, textwrap.dedent(example)))
    assert (name, space.levels) == ("own", ("none", "1"))


def test_parameters_may_be_conditional(tmp_path):
    _, space = load_space(write(tmp_path, OWN))
    asked = set()
    for seed in range(20):
        suggester = Recorder(seed)
        configuration = space.configure(suggester, "1", space.paper)
        assert configuration.model.dropout == suggester.asked.get("group_dropout", 0.0)
        asked.add(frozenset(suggester.asked))
    assert asked == {frozenset({"norm", "lr"}), frozenset({"norm", "lr", "group_dropout"})}


def test_a_file_may_have_the_name_of_another_module(tmp_path):
    assert load_space(write(tmp_path, OWN, "json.py"))[0] == "json"
    assert sys.modules["json"] is json


def test_a_file_may_use_dataclasses(tmp_path):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + OWN
    text += "\n@dataclass\nclass Extra:\n    x: int = 0\n"
    assert load_space(write(tmp_path, text))[0] == "own"


@pytest.mark.parametrize("name", ["no_such_space", "__init__", "", "../search/space", "Residual_Placement"])
def test_an_unknown_name_lists_the_known_ones(name):
    message = refused(name)
    assert all(known in message for known in NAMES)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder.py").mkdir()
    for name in ("absent.py", "folder.py"):
        assert "no such file" in refused(str(tmp_path / name))


def with_first_point(params):
    return OWN.replace("paper=PROFILE", f"paper=PROFILE, first_points=lambda level, profile: ({params},)")


def with_effect(levels):
    """The space with an effect of these levels."""
    effects = f'effects=(Effect(name="block", levels={levels}),), configure=configure, paper'
    imported = OWN.replace("import Configuration,", "import Configuration, Effect,")
    return imported.replace("configure=configure, paper", effects)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("def configure(:\n", "SyntaxError"),
        ("import there_is_no_such_module_at_all\n", "there_is_no_such_module_at_all"),
        ('raise ValueError("first line\\nsecond line")\n', "second line"),
        ("x = 1\n", "SPACE"),
        ("SPACE = 'residual_placement'\n", "SPACE"),
        (OWN.replace("    norm = ", '    raise RuntimeError("went wrong")\n    norm = '), "went wrong"),
        (OWN.replace("    return Configuration(", "    Configuration("), "Configuration"),
        (OWN.replace('("none", "1")', '("none", "4")'), "placement"),
        (OWN.replace('("none", "1")', "()"), "level"),
        (OWN.replace('("none", "1")', '("1", "1")'), "level"),
        (OWN.replace('reference="none"', 'reference="3"'), "reference 3"),
        (OWN.replace("quick=(PROFILE,)", "quick=()"), "quick profile"),
        (with_effect('("none", "1")'), "all"),
        (with_effect("()"), "block"),
        (with_effect('("2",)'), "block"),
        (OWN.replace('("none", "1")', '("none", "control")'), "control"),
        (with_first_point('{"norm": "group"}'), "group_dropout"),
        (with_first_point('{"norm": "layer", "lr": 0.05}'), "norm"),
    ],
)
def test_a_space_that_would_fail_later_is_refused_at_once(tmp_path, text, culprit):
    assert culprit in refused(write(tmp_path, text))
