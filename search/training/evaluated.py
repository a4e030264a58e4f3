"""A network's probabilities together with the features that its last layer makes them from."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search.training.device import Device
from search.training.fit import evaluate
from search.training.types import Normalisation
from wbcmodels.network import head_name


def evaluate_with_features(
    model: nn.Module, images_NHWC: Tensor, indices: Tensor, normalisation: Normalisation, device: Device
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """Class probabilities, (n_indices, n_classes), and features, (n_indices, n_features), in one pass.

    Args and errors: as in `search.training.fit.evaluate`.

    Returns:
        The features are the inputs of the head; None if the network has none, or one that reads no vectors.
    """
    head = head_name(model)
    if head is None:
        return evaluate(model, images_NHWC, indices, normalisation, device), None
    read: list[Tensor] = []
    hook = model.get_submodule(head).register_forward_pre_hook(
        lambda _module, inputs: read.append(inputs[0].float().cpu())
    )
    try:
        probabilities = evaluate(model, images_NHWC, indices, normalisation, device)
    finally:
        hook.remove()
    vectors = all(each.ndim == 2 for each in read) and sum(map(len, read)) == len(indices)
    return probabilities, torch.cat(read).numpy() if vectors else None
