"""SGD with momentum, and a linear layer that it updates without converting the whole layer twice a step."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search.space import TrainingConfig

# Values, momentum and gradient of so many weights stay in a core's cache while they are updated: 85 ms for the
# paper's FC1 at 64 px against 126 ms in one piece (one core of a Sapphire Rapids, median of 10).
WEIGHTS_AT_ONCE = 2**16


class HalvedLinear(nn.Linear):
    """A linear layer that computes in bfloat16, with float32 weights that it learns in.

    Autocast converts the weights for every batch, and their gradient back. For FC1, which holds most of the
    network's weights, that takes a quarter of a step; here the optimizer keeps the converted weights up to date.

    Attributes:
        weight_bf16: (out_features, in_features), the weights as they are computed with; in no state dict.
        gradient_bf16: of the last backward pass, same shape; always the same memory, since that of a new tensor
            takes as long to get as the gradient to compute. None where the weights are not to be learnt.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.weight_bf16 = self.weight.detach().bfloat16()
        self.gradient_bf16 = torch.zeros_like(self.weight_bf16) if self.weight.requires_grad else None
        self.register_load_state_dict_post_hook(_halve_again)

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_features) -> (N, out_features) in bfloat16."""
        output: Tensor = _Product.apply(
            input.bfloat16(), self.weight_bf16, self.gradient_bf16, self.bias.bfloat16()
        )
        return output


class _Product(torch.autograd.Function):
    """input @ weight.T + bias, whose backward pass leaves the weight's gradient in a tensor it is given."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, gradient: Tensor | None, bias: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.gradient = gradient
        return F.linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, of_output: Tensor) -> tuple[Tensor, None, None, Tensor]:
        input, weight = ctx.saved_tensors
        if ctx.gradient is not None:
            torch.mm(of_output.T.contiguous(), input, out=ctx.gradient)  # faster than from a view by a quarter
        return of_output @ weight, None, None, of_output.sum(0)


class SGD:
    """SGD with momentum over the parameters of a network that require gradients.

    What torch's own fused SGD computes, by the same kernel. That class imports torch's compiler as it is made, 0.9
    seconds and 157 MB for every worker (n = 2), and cannot update a layer piece by piece.

    Attributes:
        momentum: by name of the parameter, as it stands after the last step; empty before the first.
        found_inf: float32 scalar on the device; where it is 1, a step changes nothing. None: all steps count.
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
        """Make the next step with this learning rate."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)
        else:
            self._lr = lr

    def keep_rate_on(self, device: torch.device) -> None:
        """Hold the learning rate on a device, where a recorded step reads it."""
        self._lr = torch.tensor(float(self._lr), device=device)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters from their gradients."""
        first = not self.momentum
        if first:
            self.momentum = {name: torch.zeros_like(value) for name, value in self._parameters.items()}
        whole = [name for name, value in self._parameters.items() if value not in self._halved]
        self._update(
            [self._parameters[name] for name in whole],
            [_gradient(self._parameters[name]) for name in whole],
            [self.momentum[name] for name in whole],
            first=first,
        )
        for name, parameter in self._parameters.items():
            if parameter in self._halved:
                self._update_halved(self._halved[parameter], self.momentum[name], first=first)

    def _update_halved(self, layer: HalvedLinear, momentum: Tensor, *, first: bool) -> None:
        """Update a layer's weights, and what they are computed with, piece by piece."""
        assert layer.gradient_bf16 is not None
        tensors = (layer.weight, layer.weight_bf16, layer.gradient_bf16, momentum)
        gradient = torch.empty(WEIGHTS_AT_ONCE)
        for weight, weight_bf16, gradient_bf16, buffer in zip(
            *(tensor.view(-1).split(WEIGHTS_AT_ONCE) for tensor in tensors), strict=True
        ):
            self._update([weight], [gradient[: len(weight)].copy_(gradient_bf16)], [buffer], first=first)
            weight_bf16.copy_(weight)

    def _update(
        self, weights: list[Tensor], gradients: list[Tensor], momentum: list[Tensor], *, first: bool
    ) -> None:
        torch._fused_sgd_(
            weights,
            gradients,
            momentum,
            weight_decay=self._config.weight_decay,
            momentum=self._config.momentum,
            lr=self._lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=first,
            found_inf=self.found_inf,
        )


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # every parameter of a network has a part in its output
    return parameter.grad


def _halve_again(layer: nn.Module, _: Any) -> None:
    assert isinstance(layer, HalvedLinear)
    with torch.no_grad():
        layer.weight_bf16.copy_(layer.weight)
