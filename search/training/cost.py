"""The cost of trainings, in multiply-accumulates of forward passes, known before anything is trained."""

from dataclasses import replace

from search.space import N_ORIENTATIONS, Augmentation, Configuration, TrainingConfig
from wbcmodels.network import model_size

# A training step reads and updates every parameter. Fitted to the time per image of six placements at 24 to
# 40 px, quarter width, batches of 32, bf16 on one core: cost per image = MACs + 14 * parameters, within 15 %.
MACS_PER_PARAMETER, FITTED_BATCH = 14, 32
# Validation does no backward pass and no update.
VALIDATION_SHARE = 0.3
# A network with frozen features does neither, except for its small head.
FROZEN_SHARE = 0.33


def image_cost(configuration: Configuration, n_classes: int) -> float:
    """Cost of training on one image, in MACs of a forward pass."""
    training = configuration.training
    whole = _whole_cost(configuration, n_classes, training.batch_size)
    return whole * FROZEN_SHARE if training.trained == "head" else whole


def training_cost(configuration: Configuration, n_classes: int, n_train: float, n_val: float) -> float:
    """Cost of one training with a validation after every epoch, in MACs of a forward pass."""
    training = configuration.training
    passes = frozen_passes(training) if training.trained == "head" else training.epochs
    trained = passes * image_cost(configuration, n_classes) * n_train
    return trained + training.epochs * scoring_cost(configuration, n_classes, n_val)


def frozen_passes(training: TrainingConfig) -> int:
    """Passes over the training images with frozen features.

    They are computed once in each orientation where that takes fewer passes than one an epoch, images change in
    nothing else, and no average of all weights is kept.
    """
    repeats = training.augmentation == Augmentation() and training.ema_decay is None
    return min(training.epochs, N_ORIENTATIONS) if repeats else training.epochs


def frozen_cost(configuration: Configuration, n_classes: int, n_train: float, n_val: float) -> float:
    """Cost of a training of the configuration with frozen features."""
    head_only = replace(configuration, training=replace(configuration.training, trained="head"))
    return training_cost(head_only, n_classes, n_train, n_val)


def scoring_cost(configuration: Configuration, n_classes: int, n_images: float) -> float:
    """Cost of scoring images once, in MACs of a forward pass."""
    return VALIDATION_SHARE * _whole_cost(configuration, n_classes) * n_images


def _whole_cost(configuration: Configuration, n_classes: int, batch_size: int = FITTED_BATCH) -> float:
    size = model_size(configuration.model, n_classes)
    return size.macs + MACS_PER_PARAMETER * size.n_parameters * FITTED_BATCH / batch_size
