"""Scores of a trained network on data sets that no training sees."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search.common.metrics import score
from search.data.splits import Indices
from search.space import Configuration
from search.training.adapt import adapt_norms, has_batch_norms
from search.training.batches import shared_tensor
from search.training.device import Device
from search.training.fit import evaluate
from search.training.prepare import prepared_images
from search.training.types import Elsewhere, ElsewhereScore, Images, Normalisation, Untouched


def score_network(
    network: nn.Module,
    configuration: Configuration,
    elsewhere: Sequence[Elsewhere],
    images: Mapping[str, Images],
    normalisation: Normalisation,
    device: Device,
) -> Iterator[ElsewhereScore]:
    """Score a network on further data sets, and where that is asked for, with adapted batch norms if it has any.

    Args:
        network: on the device.
        configuration: that it was trained by; the images are prepared in the same way.
        images: by name of the data set.
        normalisation: of the images that it was trained on.
    Raises:
        DivergedError: an output is not finite.
    """
    side_px = configuration.model.input_px
    for where in elsewhere:
        prepared = prepared_images(images[where.data], side_px, configuration.preparation)
        pixels = shared_tensor(prepared.pixels[side_px]).to(device.device)
        networks: dict[Untouched, nn.Module] = {"untouched": network}
        if where.adapt and has_batch_norms(network):
            networks["untouched_adapted"] = adapt_norms(network, pixels, normalisation, device)
        for way, its in networks.items():

            def predict(indices: Indices, its: nn.Module = its, pixels: Tensor = pixels) -> NDArray[np.float64]:
                return evaluate(its, pixels, torch.from_numpy(indices).to(device.device), normalisation, device)

            yield scored(where, images[where.data], way, predict)


def scored(
    where: Elsewhere, images: Images, way: Untouched, predict: Callable[[Indices], NDArray[np.float64]]
) -> ElsewhereScore:
    """Score a classifier on the images whose class it has.

    A classifier cannot know which of its classes a laboratory lacks, so it chooses among all of them; the averages
    over classes run over those that both have.

    Args:
        predict: image indices -> probabilities, (n_indices, n_classes).
    """
    labels = np.array(where.classes, dtype=np.int64)[images.labels]
    indices = np.flatnonzero(labels >= 0)
    probabilities = predict(indices)
    return ElsewhereScore(
        data=where.data,
        phase=where.phase,
        way=way,
        indices=indices,
        metrics=score(labels[indices], probabilities),
        probabilities=probabilities,
    )
