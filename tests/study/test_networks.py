"""The check of networks: whatever is wrong with one is a line that names space, level and reason."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from search.common.errors import InputError
from search.space import Configuration, Profile, Space, TrainingConfig
from search.study.networks import check_networks
from wbcmodels.config import ModelConfig

PROFILE = Profile(
    width=0.125, epochs=2, transfer_epochs=2, input_px=(16,), lr=(0.01, 0.1), trials_per_level=1, search_folds=2
)


@dataclass(frozen=True, kw_only=True)
class Own:
    kind: str
    input_px: int = 16

    def build(self, n_classes, seed):
        if self.kind == "raises":
            raise RuntimeError("no such weights")
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, n_classes))
        if self.kind == "frozen":
            network.requires_grad_(False)
        if self.kind == "nan":
            nn.init.constant_(network[1].weight, float("nan"))
        if self.kind == "transposed":
            network.append(Transposed())
        if self.kind == "tuple":
            network.append(Twice())
        if self.kind == "no linear layer":
            return nn.Sequential(nn.Conv2d(3, n_classes, 16), nn.Flatten())
        if self.kind == "names its head":
            network.head = "1"
        return network


class Transposed(nn.Module):
    def forward(self, logits):
        return logits.T


class Twice(nn.Module):
    def forward(self, logits):
        return logits, logits


@dataclass(frozen=True, kw_only=True)
class NotJson:
    input_px: int = 16
    sides: frozenset = field(default_factory=lambda: frozenset({1}))

    def build(self, n_classes, seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, n_classes))


def space(model):
    return Space(
        question="?",
        factor="network",
        levels=("family", "own"),
        reference="family",
        configure=lambda suggest, level, profile: Configuration(
            model=ModelConfig(input_px=16) if level == "family" else model,
            training=TrainingConfig(epochs=2, lr=0.1),
        ),
        paper=PROFILE,
        quick=(PROFILE,),
    )


def check(model, *, transfers=True):
    return check_networks("mine.py", space(model), [PROFILE], 5, transfers=transfers)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Own(kind="raises"), "no such weights"),
        (Own(kind="frozen"), "no parameter that can be trained"),
        (Own(kind="nan"), "not finite"),
        (Own(kind="transposed"), "(5, 4)"),
        (Own(kind="tuple"), "tuple"),
        (Own(kind="no linear layer"), "head"),
        (Own(kind="fits another side", input_px=20), "768"),
        (NotJson(), "JSON"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_network_that_would_fail_later_is_refused_at_once(model, reason):
    with pytest.raises(InputError) as caught:
        check(model)
    message = str(caught.value)
    assert message.startswith("--space mine.py, level own: ")
    assert reason in message
    assert len(message) < 400


def test_a_head_that_was_found_is_said_where_it_matters():
    (note,) = check(Own(kind="plain"))
    assert note.startswith("own: ")
    assert note.endswith(" 1")
    assert check(Own(kind="plain"), transfers=False) == []
    assert check(Own(kind="names its head")) == []
    assert check(Own(kind="no linear layer"), transfers=False) == []


def test_the_check_leaves_torchs_generator_alone():
    state = torch.get_rng_state()
    check(Own(kind="plain"))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_class_inside_a_function_cannot_be_found_again():
    @dataclass(frozen=True, kw_only=True)
    class Hidden(Own):
        pass

    with pytest.raises(InputError, match="Hidden must be defined at the top"):
        check(Hidden(kind="plain"))


def test_a_model_must_be_a_frozen_dataclass_that_builds():
    training = TrainingConfig(epochs=1, lr=0.1)
    with pytest.raises(TypeError, match="Linear"):
        Configuration(model=nn.Linear(2, 2), training=training)
    with pytest.raises(TypeError, match="input_px"):
        Configuration(model=replace(Own(kind="plain"), input_px="16"), training=training)


@pytest.mark.parametrize(("optimizer", "notes"), [("adamw", 0), ("sgd", 1), ("muon", 1)])
def test_a_level_that_ignores_the_optimizer_of_its_profile_is_noted(optimizer, notes):
    def configure(suggest, level, profile):
        training = TrainingConfig(epochs=2, lr=0.01, optimizer=optimizer)
        return Configuration(model=ModelConfig(input_px=16), training=training)

    space = Space(question="?", factor="network", levels=("none",), configure=configure)
    profiles = [replace(PROFILE, optimizer="adamw"), replace(PROFILE, optimizer="adamw", epochs=3)]
    found = check_networks("mine.py", space, profiles, 5, transfers=True)
    assert len(found) == notes
    assert all("none" in note and "AdamW" in note for note in found)
    assert check_networks("mine.py", space, [PROFILE], 5, transfers=True) == []
