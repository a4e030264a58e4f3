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
    network's weights, that takes a third of a step; here the optimizer keeps the converted weights up to date.

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


class SGD(torch.optim.SGD):
    """SGD with momentum over the parameters of a network that require gradients.

    Attributes:
        found_inf: float32 scalar on the device; where it is 1, a step changes nothing. None: all steps count.
    """

    found_inf: Tensor | None

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        super().__init__(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
        layers = [layer for layer in model.modules() if isinstance(layer, HalvedLinear)]
        self._halved = [layer for layer in layers if layer.gradient_bf16 is not None]

    def set_rate(self, lr: float) -> None:
        """Make the next step with this learning rate."""
        for group in self.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def keep_rate_on(self, device: torch.device) -> None:
        """Hold the learning rate on a device, where a recorded step reads it."""
        for group in self.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is ever given
        """Update all parameters from their gradients."""
        super().step(closure)  # those without a gradient of their own are left alone
        for layer in self._halved:
            self._update(layer)

    @torch.no_grad()
    def _update(self, layer: HalvedLinear) -> None:
        """Update a layer's weights, and what they are computed with, piece by piece."""
        state, options = self.state[layer.weight], self.param_groups[0]
        first = "momentum_buffer" not in state
        momentum = state.setdefault("momentum_buffer", torch.empty_like(layer.weight))
        assert layer.gradient_bf16 is not None
        whole = (layer.weight, layer.weight_bf16, layer.gradient_bf16, momentum)
        float_gradient = torch.empty(WEIGHTS_AT_ONCE)
        for weight, weight_bf16, gradient_bf16, buffer in zip(
            *(tensor.view(-1).split(WEIGHTS_AT_ONCE) for tensor in whole), strict=True
        ):
            piece = float_gradient[: len(weight)].copy_(gradient_bf16)
            # What torch's own fused SGD calls, without its checks, which would take longer than the piece.
            torch._fused_sgd_(
                [weight],
                [piece],
                [buffer],
                weight_decay=options["weight_decay"],
                momentum=options["momentum"],
                lr=options["lr"],
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=first,
            )
            weight_bf16.copy_(weight)


def _halve_again(layer: nn.Module, _: Any) -> None:
    assert isinstance(layer, HalvedLinear)
    with torch.no_grad():
        layer.weight_bf16.copy_(layer.weight)
