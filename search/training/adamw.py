"""AdamW: each weight's step is scaled by how large its gradients have been."""

import math
from typing import Any

import torch
from torch import Tensor

from search.training.fused import FusedOptimizer

# torch's defaults.
BETAS, EPSILON = (0.9, 0.999), 1e-8


class AdamW(FusedOptimizer):
    """AdamW, equal to `torch.optim.AdamW(fused=True)` where every parameter has a gradient in every step.

    Steps are counted for all parameters together.

    Source: I. Loshchilov and F. Hutter, Decoupled weight decay regularization (2019).
    """

    BUFFERS = ("exp_avg", "exp_avg_sq")

    def state(self) -> dict[str, Tensor]:
        """The buffers, by parameter and buffer, and the number of steps, which all parameters share."""
        return {**super().state(), "step": self._n_steps} if self.buffers else {}

    def _begin(self) -> None:
        super()._begin()
        first = next(iter(self._parameters.values()))
        self._n_steps = torch.zeros((), device=first.device)

    def _count(self) -> None:
        self._n_steps += 1 if self.found_inf is None else 1 - self.found_inf

    def _update(self, weights: list[Tensor], gradients: list[Tensor], buffers: list[list[Tensor]]) -> None:
        # A private function, so a later torch may lack it. It takes the rate as a number or a tensor.
        update: Any = torch._fused_adamw_ if hasattr(torch, "_fused_adamw_") else _unfused_adamw_
        update(
            weights,
            gradients,
            *buffers,
            [],  # the highest squares, of AMSGrad
            [self._n_steps] * len(weights),
            lr=self._lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self._config.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=self.found_inf,
        )


def _unfused_adamw_(
    weights: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    _highest: list[Tensor],
    n_steps: list[Tensor],
    *,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    found_inf: Tensor | None,
    **_: Any,
) -> None:
    """Compute in ordinary operations what the fused kernel computes, without its further options."""
    for weight, gradient, average, square, n in zip(weights, gradients, averages, squares, n_steps, strict=True):
        new_average = beta1 * average + (1 - beta1) * gradient
        new_square = beta2 * square + (1 - beta2) * gradient.square()
        # 1 - beta^n, without the loss of digits.
        unbiased, unbiased_square = (-torch.expm1(n * math.log(beta)) for beta in (beta1, beta2))
        scale = (new_square / unbiased_square).sqrt() + eps
        new_weight = weight * (1 - lr * weight_decay) - lr * new_average / unbiased / scale
        for tensor, new in ((average, new_average), (square, new_square), (weight, new_weight)):
            tensor.copy_(new if found_inf is None else torch.where(found_inf == 1, tensor, new))
