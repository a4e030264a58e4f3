"""What is trained: a network, its training, and the preparation of its images."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

from search.space.images import Augmentation, Preparation
from wbcmodels.network import EstimatorConfig, Model

ClassWeighting = Literal["none", "balanced"]
Schedule = Literal["cosine", "constant", "one_cycle"]
OptimizerName = Literal["sgd", "adamw", "muon"]
OPTIMIZER_NAMES: dict[OptimizerName, str] = {"sgd": "SGD", "adamw": "AdamW", "muon": "Muon"}
Trained = Literal["whole", "head"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained on the cross-entropy.

    Attributes:
        epochs: passes over the training images.
        lr: highest learning rate.
        batch_size: images per step, at most; the batches of an epoch differ by at most one image.
        optimizer: "sgd" with momentum; "adamw"; or "muon" for matrices and AdamW for the rest.
        momentum: of SGD and Muon; with the default weight decay, that of MATLAB's `sgdm`, which the paper used.
        weight_decay: of SGD as a part of the gradient, of the others decoupled from it.
        schedule: "cosine" warms up over a fifth of the steps and then falls to zero; "one_cycle" warms up over
            three tenths of them; "constant" keeps the rate.
        class_weighting: "balanced" weights a class in the loss by sqrt(n_images / (its images * classes present));
            "none" weights all images equally. Without the square root, more rare cells are found, but more
            common cells are taken for rare ones: on the 2172 cells of PBC (28 px, 10 epochs, placement 1, 4 of 10
            folds, one seed) accuracy is 0.940 and balanced accuracy 0.902, against 0.974 and 0.907 with the root,
            and 0.973 and 0.882 without weights.
        label_smoothing: share of each label that is spread over all classes, at least 0 and below 1.
        clip_norm: largest norm of all gradients together; None sets no limit.
        ema_decay: the network is scored and saved with an exponential average of its weights, of which each step
            keeps this share; None keeps no average.
        trained: "head" trains the last layer only, on the features of pretrained weights.
        augmentation: how images are changed at random; flips and quarter turns are always made.
    Raises:
        ValueError: a value that is not allowed; names the field and the value.
    """

    epochs: int
    lr: float
    batch_size: int = 32
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    class_weighting: ClassWeighting = "none"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    trained: Trained = "whole"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Check every field."""
        choices = {
            "optimizer": get_args(OptimizerName),
            "schedule": get_args(Schedule),
            "class_weighting": get_args(ClassWeighting),
            "trained": get_args(Trained),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {getattr(self, name)!r}")
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"clip_norm must be above 0, not {self.clip_norm}")
        for name in ("momentum", "label_smoothing", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {value}")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A network, or a classifier of measured features, its training, and the preparation of its images.

    Of the training, such a classifier takes `epochs` alone, which must be 1: it is fitted at once. It measures
    images as they are.

    Raises:
        TypeError: the model is not described as `wbcmodels.network` says.
        ValueError: more than one epoch, or prepared images, for a classifier of measured features.
    """

    model: Model
    training: TrainingConfig
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        """Check what describes the model."""
        kind = type(self.model)
        parameters = getattr(kind, "__dataclass_params__", None)
        builds = self.is_fitted_at_once or callable(getattr(self.model, "build", None))
        if parameters is None or not parameters.frozen or not builds:
            raise TypeError(
                f"model must be a frozen dataclass with a method build(n_classes, seed), not {kind.__name__}"
            )
        if self.is_fitted_at_once and self.training.epochs != 1:
            raise ValueError(f"{kind.__name__} is fitted at once: epochs must be 1, not {self.training.epochs}")
        if self.is_fitted_at_once and self.preparation != Preparation():
            raise ValueError(f"{kind.__name__} measures images as they are: leave its preparation out")
        if not isinstance(getattr(self.model, "input_px", None), int):
            raise TypeError(f"{kind.__name__}.input_px must be a whole number of px")
        hash(self.model)

    @property
    def is_fitted_at_once(self) -> bool:
        """Whether it is a classifier of measured features, and not a network, which is trained in steps."""
        return isinstance(self.model, EstimatorConfig)

    def fields(self) -> dict[str, Any]:
        """All fields of network, training, augmentation and preparation, by name."""
        training = asdict(self.training)
        augmentation = training.pop("augmentation")
        styles = {"styles": len(augmentation.pop("styles"))}
        parts = (asdict(cast(Any, self.model)), training, augmentation, styles, asdict(self.preparation))
        return {name: value for part in parts for name, value in part.items()}
