import ast
import dataclasses
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import optuna
import pytest

from search.common.errors import InputError
from search.space import (
    Configuration,
    FixedSuggester,
    Profile,
    RandomSuggester,
    Space,
    load_space,
    sample,
)

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in (ROOT / "spaces").glob("*.py") if path.stem != "__init__")
SPACES = {name: load_space(name)[1] for name in NAMES}
CASES = [
    pytest.param(space, level, profile, id=f"{name}-{level}-{number}")
    for name, space in SPACES.items()
    for level in space.levels
    for number, profile in enumerate((space.paper, *space.quick))
]

HEADER = """
from search.space import Configuration, Profile, Space, TrainingConfig
from wbcmodels.config import ModelConfig

PROFILE = Profile(
    width=0.125, epochs=2, transfer_epochs=2, input_px=(24,), lr=(0.001, 0.1), trials_per_level=2, search_folds=2
)
"""
OWN = (
    HEADER
    + """
def configure(suggest, level, profile):
    norm = suggest.suggest_categorical("norm", ("batch", "group", "none"))
    # Only with group norm is there anything more to choose.
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
)


def write(folder, text, name="own.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(name_or_path):
    """The message with which a space is refused."""
    with pytest.raises(InputError) as caught:
        load_space(name_or_path)
    return str(caught.value)


class Recorder(RandomSuggester):
    """Remembers what it was asked for, with what."""

    def __init__(self, seed):
        super().__init__(seed)
        self.asked = {}

    def suggest_float(self, name, low, high, **options):
        self.asked[name] = super().suggest_float(name, low, high, **options)
        assert low <= self.asked[name] <= high
        return self.asked[name]

    def suggest_int(self, name, low, high, **options):
        self.asked[name] = super().suggest_int(name, low, high, **options)
        return self.asked[name]

    def suggest_categorical(self, name, choices):
        self.asked[name] = super().suggest_categorical(name, choices)
        return self.asked[name]


def test_there_are_spaces():
    assert "residual_placement" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_space_loads(name):
    loaded, space = load_space(name)
    assert loaded == name
    assert isinstance(space, Space)
    assert space.question.endswith("?")
    assert len(set(space.levels)) == len(space.levels)
    assert (space.factor is None) == (space.levels == ("all",))
    assert space.reference in (*space.levels, "paper_plain", "paper_wbcsnet2")
    assert load_space(str(ROOT / "spaces" / f"{name}.py"))[0] == name


@pytest.mark.parametrize(("space", "level", "profile"), CASES)
def test_configurations_are_valid_and_fit_the_profile(space, level, profile):
    for seed in range(10):
        suggester = Recorder(seed)
        configuration = space.configure(suggester, level, profile)
        assert isinstance(configuration, Configuration)
        assert configuration.model.width == profile.width
        assert configuration.model.input_px in profile.input_px
        assert configuration.training.epochs == profile.epochs
        assert profile.lr[0] <= configuration.training.lr <= profile.lr[1]
        # What was chosen is all there is to it.
        assert space.configure(FixedSuggester(suggester.asked), level, profile) == configuration
    assert len({repr(configuration) for configuration in sample(space, level, profile, 10)}) > 1


@pytest.mark.parametrize(("space", "level", "profile"), CASES)
def test_first_points_are_complete_and_in_range(space, level, profile):
    for params in space.first_points(level, profile):
        configuration = space.configure(FixedSuggester(params), level, profile)
        assert isinstance(configuration, Configuration)
        # Optuna warns of a value out of range, and refuses one that is no choice.
        trial = optuna.trial.FixedTrial(params)
        assert space.configure(trial, level, profile) == configuration
        assert set(trial.params) == set(params)


@pytest.mark.parametrize("name", NAMES)
def test_optuna_can_search_it(name):
    space = SPACES[name]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for level in space.levels:
        for profile in (space.paper, space.quick[0]):
            trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
            configuration = space.configure(trial, level, profile)
            assert space.configure(FixedSuggester(trial.params), level, profile) == configuration


@pytest.mark.parametrize("name", [name for name in NAMES if SPACES[name].factor is not None])
def test_every_level_is_another_network(name):
    space = SPACES[name]
    for profile in (space.paper, *space.quick):
        for seed in range(5):
            models = {space.configure(RandomSuggester(seed), level, profile).model for level in space.levels}
            assert len(models) == len(space.levels)


@pytest.mark.parametrize("name", NAMES)
def test_profiles_go_from_rich_to_poor(name):
    quick = SPACES[name].quick
    for profile in (SPACES[name].paper, *quick):
        assert list(profile.input_px) == sorted(set(profile.input_px))
        assert 0 < profile.lr[0] < profile.lr[1]
        assert profile.trials_per_level >= 2
        assert profile.search_folds >= 2
    for richer, poorer in pairwise(quick):
        for name_ in ("width", "epochs", "trials_per_level"):
            assert getattr(richer, name_) >= getattr(poorer, name_)
        assert max(richer.input_px) >= max(poorer.input_px)
        assert richer != poorer


@pytest.mark.parametrize("name", NAMES)
def test_space_imports_only_what_it_may(name):
    tree = ast.parse((ROOT / "spaces" / f"{name}.py").read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
    own = {module for module in imported if module.split(".")[0] not in sys.stdlib_module_names}
    assert own <= {"search.space", "wbcmodels.config"}


def test_space_and_cost_do_without_torch():
    code = "import json, sys, search.space, wbcmodels.cost; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    top_level = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not top_level & {"torch", "ray", "optuna", "pandas", "numpy", "sklearn"}


@pytest.mark.parametrize("seed", range(20))
def test_random_suggester_keeps_to_what_it_is_asked(seed):
    suggester = RandomSuggester(seed)
    assert 0.1 <= suggester.suggest_float("x", 0.1, 0.2, log=True) <= 0.2
    assert suggester.suggest_int("n", 3, 9, step=3) in (3, 6, 9)
    assert suggester.suggest_int("n", 4, 4) == 4
    assert suggester.suggest_categorical("c", ("a", "b")) in ("a", "b")


def test_sample_draws_the_same_every_time():
    space = SPACES["residual_placement"]
    assert sample(space, "1", space.paper, 5) == sample(space, "1", space.paper, 5)
    assert sample(space, "1", space.paper, 7)[:5] == sample(space, "1", space.paper, 5)


def test_fixed_suggester_names_what_is_missing():
    with pytest.raises(KeyError, match=r"^'lr'$"):
        FixedSuggester({"norm": "batch"}).suggest_float("lr", 0, 1)


def test_profile_and_space_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPACES["residual_placement"].paper.epochs = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPACES["residual_placement"].factor = None


def test_own_file_with_conditional_parameters(tmp_path):
    name, space = load_space(write(tmp_path, OWN))
    assert name == "own"
    assert isinstance(space.paper, Profile)
    asked = set()
    for seed in range(20):
        suggester = Recorder(seed)
        configuration = space.configure(suggester, "1", space.paper)
        grouped = suggester.asked["norm"] == "group"
        assert ("group_dropout" in suggester.asked) == grouped
        assert configuration.model.dropout == suggester.asked.get("group_dropout", 0.0)
        asked.add(frozenset(suggester.asked))
    assert asked == {frozenset({"norm", "lr"}), frozenset({"norm", "lr", "group_dropout"})}


def test_own_file_may_have_the_name_of_another_module(tmp_path):
    import json as before

    name, _ = load_space(write(tmp_path, OWN, "json.py"))
    assert name == "json"
    assert sys.modules["json"] is before


def test_own_file_may_use_dataclasses(tmp_path):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + OWN
    text += "\n@dataclass\nclass Extra:\n    x: int = 0\n"
    assert load_space(write(tmp_path, text))[0] == "own"


def test_unknown_name_lists_the_known_ones():
    message = refused("no_such_space")
    assert "--space no_such_space" in message
    assert all(name in message for name in NAMES)
    assert "\n" not in message


@pytest.mark.parametrize("name", ["__init__", "", "../search/space", "Residual_Placement"])
def test_odd_names_are_unknown(name):
    assert f"--space {name}: there is no such space" in refused(name)


def test_missing_file_is_named(tmp_path):
    path = str(tmp_path / "absent.py")
    assert refused(path) == f"--space {path}: there is no such file"


def test_folder_is_no_file(tmp_path):
    (tmp_path / "folder.py").mkdir()
    assert "folder.py: there is no such file" in refused(str(tmp_path / "folder.py"))


RAISING = OWN.replace("    norm = suggest", '    raise RuntimeError("configure went wrong")\n    norm = suggest')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("def configure(:\n", "SyntaxError", id="syntax error"),
        pytest.param("import there_is_no_such_module_at_all\n", "there_is_no_such_module_at_all", id="import"),
        pytest.param("1 / 0\n", "ZeroDivisionError", id="raises"),
        pytest.param("x = 1\n", "SPACE", id="no SPACE"),
        pytest.param("SPACE = 'residual_placement'\n", "SPACE", id="SPACE is no Space"),
        pytest.param(RAISING, "configure went wrong", id="configure raises"),
        pytest.param(OWN.replace('("none", "1")', '("none", "4")'), "placement must be one of", id="bad level"),
        pytest.param(OWN.replace('("none", "1")', "()"), "at least one level", id="no level"),
        pytest.param(OWN.replace("quick=(PROFILE,)", "quick=()"), "quick profile", id="no quick profile"),
        pytest.param(
            OWN.replace(
                "paper=PROFILE", 'paper=PROFILE, first_points=lambda level, profile: ({"norm": "group"},)'
            ),
            "group_dropout",
            id="first point lacks a parameter",
        ),
    ],
)
def test_bad_file_is_refused_in_one_line_that_names_it(tmp_path, text, said):
    path = write(tmp_path, text)
    message = refused(path)
    assert message.startswith(f"--space {path}")
    assert said in message
    assert "\n" not in message


def test_long_reason_is_still_one_line(tmp_path):
    path = write(tmp_path, 'raise ValueError("first line\\nsecond line")\n')
    assert "\n" not in refused(path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            OWN.replace("    return Configuration(", "    Configuration("), id="configure returns nothing"
        ),
        pytest.param(OWN.replace('("none", "1")', '("1", "1")'), id="a level stands there twice"),
        pytest.param(OWN.replace('reference="none"', 'reference="3"'), id="reference is no level"),
        pytest.param(
            OWN.replace(
                "paper=PROFILE", 'paper=PROFILE, first_points=lambda *_: ({"norm": "batch", "lr": 5.0, "x": 1},)'
            ).replace('("batch", "group", "none")', '("group", "none")'),
            id="first point is no choice",
        ),
    ],
)
def test_space_that_would_fail_later_is_refused_at_once(tmp_path, text):
    assert "--space" in refused(write(tmp_path, text))
