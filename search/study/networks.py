"""The check of a space's networks before a study starts: each is built, and tried on a few random images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.errors import InputError
from search.space import OPTIMIZER_NAMES, Configuration, Profile, Space
from search.study.configurations import sample_configurations
from search.training.rebuild import from_fields, to_json
from wbcmodels.config import ModelConfig
from wbcmodels.network import (
    EstimatorConfig,
    Model,
    NetworkConfig,
    build_network,
    head_name,
    initialise,
    model_size,
)

if TYPE_CHECKING:
    from torch import nn

TRIED_IMAGES = 4


def check_networks(
    name: str, space: Space, profiles: Sequence[Profile], n_classes: int, *, transfers: bool
) -> list[str]:
    """Check that every level's networks can be built, trained, saved and transferred.

    The WBCsNet family is left out: it needs no torch to be sure of.

    Args:
        name: of the space, for messages.
        profiles: that the study may use.
        transfers: whether the winner is transferred, which needs a head to replace.
    Returns:
        Notes for the user.
    Raises:
        InputError: a network fails; names space, level and reason.
    """
    notes: list[str] = []
    for level in space.levels:
        try:
            by_profile = {p: list(sample_configurations(space, level, p)) for p in profiles}
            notes += _check_level(level, list(_foreign(by_profile)), n_classes, transfers=transfers)
            notes += list(_ignored_optimizers(level, by_profile))[:1]
        except Exception as error:  # the networks are anybody's code
            reason = (
                str(error) if isinstance(error, InputError | ValueError) else f"{type(error).__name__}: {error}"
            )
            raise InputError(f"--space {name}, level {level}: {reason}") from error
    return notes


def _foreign(by_profile: Mapping[Profile, Sequence[Configuration]]) -> Iterator[Model]:
    """The distinct models of a level that are not of the family."""
    for config in dict.fromkeys(c.model for configurations in by_profile.values() for c in configurations):
        if not isinstance(config, ModelConfig):
            yield config


def _ignored_optimizers(level: str, by_profile: Mapping[Profile, Sequence[Configuration]]) -> Iterator[str]:
    """Notes on profiles that are meant for an optimizer which a level never uses."""
    for profile, configurations in by_profile.items():
        used = {c.training.optimizer for c in configurations if not c.is_fitted_at_once}
        if profile.optimizer != "sgd" and used and profile.optimizer not in used:
            meant = OPTIMIZER_NAMES[profile.optimizer]
            found = " or ".join(OPTIMIZER_NAMES[name] for name in sorted(used))
            yield (
                f"{level}: trained with {found}, but epochs and learning rates of the profile are meant for "
                f"{meant}; configure can pass on optimizer=profile.optimizer"
            )


def _check_level(level: str, configs: Sequence[Model], n_classes: int, *, transfers: bool) -> Iterator[str]:
    for config in configs:
        model_size(config, n_classes)
    if not configs:
        return
    config = min(configs, key=lambda config: config.input_px)
    if from_fields(type(config), json.loads(json.dumps(to_json(config)["architecture"]))) != config:
        raise ValueError(f"the fields of {type(config).__name__} change when they are written as JSON")
    if isinstance(config, EstimatorConfig):
        _try_estimator(config, n_classes)
        return
    network = build_network(config, n_classes, seed=0)
    initialise(config, network)
    _try(network, config, n_classes)
    head = head_name(network)
    if transfers and head is None:
        raise ValueError("the network has no linear layer to replace; name its head in the attribute `head`")
    if transfers and not isinstance(getattr(network, "head", None), str):
        yield f"{level}: a transfer replaces the network's last linear layer, {head}"


def _try(network: "nn.Module", config: NetworkConfig, n_classes: int) -> None:
    """Compute logits and gradients of a few random images, in the precision of a training on a CPU.

    Raises:
        ValueError: something is wrong with them; says what.
    """
    import torch

    from search.training.device import choose_device

    shape = (TRIED_IMAGES, 3, config.input_px, config.input_px)
    images, device = torch.randn(shape, generator=torch.Generator().manual_seed(0)), choose_device(gpu=False)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=device.bf16):
        logits: Any = network.train()(images.bfloat16() if device.bf16 else images)
    if not isinstance(logits, torch.Tensor) or logits.shape != (TRIED_IMAGES, n_classes):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(
            f"the network must turn images {shape} into logits {(TRIED_IMAGES, n_classes)}, not {found}"
        )
    if not any(value.requires_grad for value in network.parameters()):
        raise ValueError("the network has no parameter that can be trained")
    if not torch.isfinite(logits).all():
        raise ValueError("the network's output is not finite before any training")
    logits.sum().backward()


def _try_estimator(config: EstimatorConfig, n_classes: int) -> None:
    """Measure a few random images, and fit the classifier to them.

    Raises:
        ValueError: something is wrong with what it gives; says what.
    """
    n_images = TRIED_IMAGES * n_classes
    pixels = np.random.default_rng(0).integers(0, 256, (n_images, config.input_px, config.input_px, 3), np.uint8)
    features = config.features(pixels)
    if features.shape != (n_images, len(config.feature_names())) or not np.isfinite(features).all():
        raise ValueError(f"features must be finite, one for each of {len(config.feature_names())} names")
    found = config.estimator(seed=0).fit(features, np.arange(n_images) % n_classes).predict_proba(features)
    if found.shape != (n_images, n_classes):
        raise ValueError(f"the classifier must give probabilities {(n_images, n_classes)}, not {found.shape}")
