"""Training of classifiers on measured features: fitted at once, and saved as what they were fitted to."""

import hashlib
import time
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from search.common.metrics import score
from search.common.seeds import derive_seed
from search.data.splits import Indices
from search.training.elsewhere import scored
from search.training.types import (
    Elsewhere,
    ElsewhereScore,
    EpochResult,
    EpochScore,
    FoldScore,
    Images,
    Normalisation,
    Step,
    Task,
)
from search.training.typical import Typical, fit_typical, views_of
from wbcmodels.network import EstimatorConfig

# Features are measured on the pixels as they are.
AS_THEY_ARE = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
# Measurements of whole data sets that a worker keeps: measuring takes far longer than fitting.
KEPT = 8
_kept: dict[tuple[Hashable, bytes], NDArray[np.float32]] = {}


def measured(config: EstimatorConfig, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features of all images of a data set, (n_images, n_features); measured once in a process."""
    key = (config.measurement, hashlib.blake2b(np.ascontiguousarray(pixels_NHWC).data).digest())
    if key not in _kept:
        while len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = config.features(pixels_NHWC)
    return _kept[key]


def run_estimator(task: Task, images: Images, elsewhere: Mapping[str, Images]) -> Iterator[Step]:
    """Fit a classifier once and validate it: the only epoch of its training.

    Args:
        elsewhere: the task's further data sets, by name.

    Raises:
        ValueError: the images were not decoded at its input side, or it is to start from weights.
    """
    config = task.configuration.model
    assert isinstance(config, EstimatorConfig)
    if task.way != "scratch":
        raise ValueError(f"a classifier of measured features cannot be trained {task.way}")
    started = time.perf_counter()
    features = measured(config, images.pixels[config.input_px])
    measured_s = time.perf_counter() - started
    weights = save(
        {
            "features": features[task.train],
            "labels": images.labels[task.train],
            "seed": np.array(derive_seed(task.seed, "weights")),
        }
    )
    fitted = fit_again(config, weights)
    train_s = time.perf_counter() - started
    trained = score(images.labels[task.train], _probabilities(fitted, features[task.train], images.n_classes))
    validated_from = time.perf_counter()
    probabilities = _probabilities(fitted, features[task.val], images.n_classes)
    metrics = score(images.labels[task.val], probabilities) if len(task.val) else None
    others = tuple(_scored(config, fitted, where, elsewhere[where.data], images) for where in task.elsewhere)
    epoch = EpochResult(
        epoch=1,
        lr=task.configuration.training.lr,
        train_loss=trained.log_loss,
        train_accuracy=trained.accuracy,
        train_s=train_s,
        data_s=measured_s,
    )
    yield Step(
        epoch=EpochScore(training=epoch, validation=metrics, val_s=time.perf_counter() - validated_from),
        score=FoldScore(
            n_train=len(task.train),
            n_val=len(task.val),
            metrics=metrics,
            probabilities=probabilities,
            normalisation=AS_THEY_ARE,
            train_s=train_s,
            weights=weights if task.keep_weights else None,
            typical=_typical(images, task, features) if task.keep_weights else None,
            elsewhere=others,
        ),
    )


def _typical(images: Images, task: Task, features: NDArray[np.float32]) -> Typical | None:
    own = images.pixels[task.configuration.model.input_px][task.train]
    return fit_typical(views_of(own, features[task.train]), images.labels[task.train])


def fit_again(config: EstimatorConfig, weights: bytes) -> Any:
    """The classifier that was fitted to these features, labels and seed.

    Raises:
        KeyError, ValueError: the bytes hold something else.
    """
    arrays = load(weights)
    return config.estimator(int(arrays["seed"])).fit(arrays["features"], arrays["labels"])


def predict(
    config: EstimatorConfig, weights: bytes, pixels_NHWC: NDArray[np.uint8], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Class probabilities, (n_images, n_classes), and features of images (n_images, input_px, input_px, 3)."""
    features = config.features(pixels_NHWC)
    return _probabilities(fit_again(config, weights), features, n_classes), features


def _scored(
    config: EstimatorConfig, fitted: Any, where: Elsewhere, there: Images, images: Images
) -> ElsewhereScore:
    """Score a classifier on a further data set; it has no batch norms to adapt."""
    features = measured(config, there.pixels[config.input_px])

    def predict(indices: Indices) -> NDArray[np.float64]:
        return _probabilities(fitted, features[indices], images.n_classes)

    return scored(where, there, "untouched", predict)


def _probabilities(fitted: Any, features: NDArray[np.float32], n_classes: int) -> NDArray[np.float64]:
    """Of all classes; one that was absent in training has none."""
    probabilities = np.zeros((len(features), n_classes))
    if len(features):
        probabilities[:, fitted.classes_] = fitted.predict_proba(features)
    return probabilities
