"""SGD with momentum."""

from typing import Any

import torch
from torch import Tensor

from search.training.fused import FusedOptimizer


class SGD(FusedOptimizer):
    """SGD with momentum, equal to `torch.optim.SGD(fused=True)`."""

    BUFFERS = ("momentum",)

    def _update(self, weights: list[Tensor], gradients: list[Tensor], buffers: list[list[Tensor]]) -> None:
        # A private function, so a later torch may lack it.
        update = torch._fused_sgd_ if hasattr(torch, "_fused_sgd_") else _unfused_sgd_
        update(
            weights,
            gradients,
            buffers[0],
            weight_decay=self._config.weight_decay,
            momentum=self._config.momentum,
            lr=self._lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,  # the buffers start at zero, which gives the same
            found_inf=self.found_inf,
        )


def _unfused_sgd_(
    weights: list[Tensor],
    gradients: list[Tensor],
    buffers: list[Tensor],
    *,
    weight_decay: float,
    momentum: float,
    lr: float | Tensor,
    found_inf: Tensor | None,
    **_: Any,
) -> None:
    """Compute in ordinary operations what the fused kernel computes, without its further options."""
    for weight, gradient, buffer in zip(weights, gradients, buffers, strict=True):
        new_buffer = momentum * buffer + gradient + weight_decay * weight
        new_weight = weight - lr * new_buffer
        if found_inf is not None:
            new_buffer = torch.where(found_inf == 1, buffer, new_buffer)
            new_weight = torch.where(found_inf == 1, weight, new_weight)
        buffer.copy_(new_buffer)
        weight.copy_(new_weight)
