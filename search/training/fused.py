"""What optimizers share that use torch's fused kernels: a network is updated whole, or layers piece by piece."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from search.space import TrainingConfig
from search.training.halved import HalvedLinear

# The values, buffers and gradient of this many weights stay in a core's cache during their update: with SGD, 85 ms
# for the paper's FC1 at 64 px, against 126 ms in one piece (one core of a Sapphire Rapids, median of 10).
WEIGHTS_AT_ONCE = 2**16


class FusedOptimizer:
    """An optimizer of a network's parameters that require gradients, by one of torch's fused kernels.

    The classes of `torch.optim` compute the same, but import torch's compiler when they are created, 0.9 seconds
    and 157 MB in every worker (n = 2), and cannot update a `HalvedLinear` layer piece by piece.

    Attributes:
        BUFFERS: names of what the update keeps of every parameter.
        buffers: their values by name and parameter, after the last step; empty before the first.
        found_inf: float32 scalar on the device; if it is 1, a step changes nothing. None: every step counts.
    """

    BUFFERS: ClassVar[tuple[str, ...]]

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        layers = [layer for layer in model.modules() if isinstance(layer, HalvedLinear)]
        self._halved = {layer.weight: layer for layer in layers if layer.gradient_bf16 is not None}
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._config = config
        self._lr: float | Tensor = config.lr
        self.buffers: dict[str, dict[str, Tensor]] = {}
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
        if not self.buffers:
            self._begin()
        self._count()
        gradients = {name: value.grad for name, value in self._parameters.items() if value not in self._halved}
        whole = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        self._update(
            [self._parameters[name] for name in whole],
            list(whole.values()),
            [[values[name] for name in whole] for values in self.buffers.values()],
        )
        for name, parameter in self._parameters.items():
            if parameter in self._halved:
                self._update_halved(self._halved[parameter], [values[name] for values in self.buffers.values()])

    def state(self) -> dict[str, Tensor]:
        """The buffers, by parameter and buffer."""
        return {
            f"{name}.{buffer}": value for buffer, values in self.buffers.items() for name, value in values.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of another optimizer of the same kind and network, which has made a step.

        Raises:
            KeyError: it is of a different kind or network; contains an entry that only one of them has.
        """
        self._begin()
        own = self.state()
        if different := own.keys() ^ state.keys():
            raise KeyError(min(different))
        for key, value in own.items():
            value.copy_(state[key])

    def _begin(self) -> None:
        """Start with empty buffers, each on its parameter's device and in its memory order."""
        self.buffers = {
            buffer: {name: torch.zeros_like(value) for name, value in self._parameters.items()}
            for buffer in self.BUFFERS
        }

    def _count(self) -> None:
        """Count a step, where the update depends on their number."""

    def _update_halved(self, layer: HalvedLinear, buffers: Sequence[Tensor]) -> None:
        """Update a layer's weights in float32 and bfloat16, piece by piece."""
        assert layer.gradient_bf16 is not None
        tensors = (layer.weight, layer.weight_bf16, layer.gradient_bf16, *buffers)
        gradient = torch.empty(WEIGHTS_AT_ONCE)
        for weight, weight_bf16, gradient_bf16, *own in zip(
            *(tensor.view(-1).split(WEIGHTS_AT_ONCE) for tensor in tensors), strict=True
        ):
            self._update([weight], [gradient[: len(weight)].copy_(gradient_bf16)], [[values] for values in own])
            weight_bf16.copy_(weight)

    def _update(self, weights: list[Tensor], gradients: list[Tensor], buffers: list[list[Tensor]]) -> None:
        """Update weights in place from their gradients.

        Args:
            buffers: for each of BUFFERS, that of every weight; updated in place.
        """
        raise NotImplementedError
