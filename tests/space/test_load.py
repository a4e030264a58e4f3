import json
import sys
import textwrap
from pathlib import Path

import pytest
from suggesters import Recorder

import search.space
from search.common.errors import InputError
from search.space.load import load_space
from search.study.networks import check_networks

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "spaces").glob("*.py") if path.stem != "__init__")
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


def test_the_network_in_the_readme_is_a_space_that_works(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    _, space = load_space(write(tmp_path, code))
    (note,) = check_networks("mine.py", space, space.quick, 5, transfers=True)
    assert "last linear layer" in note


@pytest.mark.parametrize("name", NAMES)
def test_a_space_loads_by_name_and_by_path(name):
    loaded, space = load_space(name)
    assert loaded == load_space(str(ROOT / "spaces" / f"{name}.py"))[0] == name
    assert space.question.endswith("?")
    assert (space.factor is None) == (space.levels == ("all",))


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
