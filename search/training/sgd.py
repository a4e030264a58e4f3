"""SGD with momentum, and a linear layer in bfloat16 whose float32 weights it updates piece by piece."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.space import TrainingConfig

# The values, momentum and gradient of this many weights stay in a core's cache during their update: 85 ms for the
# paper's FC1 at 64 px, against 126 ms in one piece (one core of a Sapphire Rapids, median of 10).
WEIGHTS_AT_ONCE = 2**16


class HalvedLinear(nn.Linear):
    """A linear layer that computes in bfloat16 and learns in float32.

    Autocast converts the weights for every batch, and their gradient back. For FC1, which holds most of the
    network's weights, that takes a quarter of a step. Here the optimizer keeps the converted weights up to date.

    Attributes:
        weight_bf16: (out_features, in_features), the converted weights; not in the state dict.
        gradient_bf16: gradient of the last backward pass, same shape; always in the same memory, because
            allocating a new tensor takes as long as computing the gradient. None if the weights are frozen.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.weight_bf16 = self.weight.detach().bfloat16()
        self.gradient_bf16 = torch.zeros_like(self.weight_bf16) if self.weight.requires_grad else None
        self.register_load_state_dict_post_hook(_convert_again)

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_features) -> (N, out_features) in bfloat16."""
        output: Tensor = _Product.apply(
            input.bfloat16(), self.weight_bf16, self.gradient_bf16, self.bias.bfloat16()
        )
        return output


class _Product(torch.autograd.Function):
    """input @ weight.T + bias; the backward pass writes the weight's gradient to a given tensor."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, gradient: Tensor | None, bias: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.gradient = gradient
        return F.linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, of_output: Tensor) -> tuple[Tensor, None, None, Tensor]:
        input, weight = ctx.saved_tensors
        if ctx.gradient is not None:
            torch.mm(of_output.T.contiguous(), input, out=ctx.gradient)  # a quarter faster than from a view
        return of_output @ weight, None, None, of_output.sum(0)


class SGD:
    """SGD with momentum for the parameters of a network that require gradients.

    Equal to `torch.optim.SGD(fused=True)`, by the same kernel. That class imports torch's compiler when it is
    created, 0.9 seconds and 157 MB in every worker (n = 2), and cannot update a layer piece by piece.

    Attributes:
        momentum: by parameter name, after the last step; empty before the first.
        found_inf: float32 scalar on the device; if it is 1, a step changes nothing. None: every step counts.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        layers = [layer for layer in model.modules() if isinstance(layer, HalvedLinear)]
        self._halved = {layer.weight: layer for layer in layers if layer.gradient_bf16 is not None}
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._config = config
        self._lr: float | Tensor = config.lr
        self.momentum: dict[str, Tensor] = {}
        self.found_inf: Tensor | None = None

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the next steps."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)
        else:
            self._lr = lr

    def keep_rate_on(self, device: torch.device) -> None:
        """Keep the learning rate on a device, where a recorded step reads it."""
        self._lr = torch.tensor(float(self._lr), device=device)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters from their gradients."""
        if not self.momentum:
            self.momentum = {name: torch.zeros_like(value) for name, value in self._parameters.items()}
        gradients = {name: value.grad for name, value in self._parameters.items() if value not in self._halved}
        whole = [(name, gradient) for name, gradient in gradients.items() if gradient is not None]
        self._update(
            [self._parameters[name] for name, _ in whole],
            [gradient for _, gradient in whole],
            [self.momentum[name] for name, _ in whole],
        )
        for name, parameter in self._parameters.items():
            if parameter in self._halved:
                self._update_halved(self._halved[parameter], self.momentum[name])

    def state(self) -> dict[str, Tensor]:
        """The momentum, by parameter."""
        return {f"{name}.momentum": value for name, value in self.momentum.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the momentum of another optimizer of the same network.

        Raises:
            KeyError: it is of a different network; contains the parameter's name.
        """
        for name, value in state.items():
            parameter = name.removesuffix(".momentum")
            buffer = torch.empty_like(self._parameters[parameter])  # on its device, in its memory order
            self.momentum[parameter] = buffer.copy_(value)

    def _update_halved(self, layer: HalvedLinear, momentum: Tensor) -> None:
        """Update a layer's weights in float32 and bfloat16, piece by piece."""
        assert layer.gradient_bf16 is not None
        tensors = (layer.weight, layer.weight_bf16, layer.gradient_bf16, momentum)
        gradient = torch.empty(WEIGHTS_AT_ONCE)
        for weight, weight_bf16, gradient_bf16, buffer in zip(
            *(tensor.view(-1).split(WEIGHTS_AT_ONCE) for tensor in tensors), strict=True
        ):
            self._update([weight], [gradient[: len(weight)].copy_(gradient_bf16)], [buffer])
            weight_bf16.copy_(weight)

    def _update(self, weights: list[Tensor], gradients: list[Tensor], momentum: list[Tensor]) -> None:
        # A private function, so a later torch may lack it.
        update = torch._fused_sgd_ if hasattr(torch, "_fused_sgd_") else _unfused_sgd_
        update(
            weights,
            gradients,
            momentum,
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


def _convert_again(layer: nn.Module, _: Any) -> None:
    assert isinstance(layer, HalvedLinear)
    with torch.no_grad():
        layer.weight_bf16.copy_(layer.weight)
