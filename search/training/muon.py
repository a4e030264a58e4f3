"""Muon, which orthogonalises the updates of matrices."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from search.space import TrainingConfig
from wbcmodels.network import head_name


class Muon:
    """Muon for matrices and AdamW for the rest, by torch.

    Muon orthogonalises the momentum of matrices: the weights of linear layers and, with a row per output channel,
    of convolutions. The head, biases and norms are left to AdamW. Muon's updates are scaled to those of AdamW, so
    that one learning rate serves both.

    Source: K. Jordan et al., Muon (2024); J. Liu et al., Muon is scalable for LLM training (2025), for the scale.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._parameters = trained
        head = f"{head_name(network)}."
        self._matrices = {
            name: nn.Parameter(_as_matrix(value.detach()))
            for name, value in trained.items()
            if value.ndim >= 2 and not name.startswith(head)
        }
        self._updated = {name: self._matrices.get(name, value) for name, value in trained.items()}
        rest = [value for name, value in trained.items() if name not in self._matrices]
        lr, decay = config.lr, config.weight_decay
        self._optimizers: list[torch.optim.Optimizer] = []
        if rest:
            self._optimizers.append(torch.optim.AdamW(rest, lr=lr, weight_decay=decay, fused=True))
        if self._matrices:
            matrices = list(self._matrices.values())
            muon = torch.optim.Muon(
                matrices, lr=lr, weight_decay=decay, momentum=config.momentum, adjust_lr_fn="match_rms_adamw"
            )
            self._optimizers.append(muon)

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the next steps."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def step(self) -> None:
        """Update all parameters from their gradients."""
        for name, matrix in self._matrices.items():
            gradient = self._parameters[name].grad
            matrix.grad = None if gradient is None else _as_matrix(gradient)
        for optimizer in self._optimizers:
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """What a resumed training needs besides the weights, by parameter and entry."""
        return {
            f"{name}.{entry}": value
            for name, optimizer, parameter in self._owned()
            for entry, value in optimizer.state.get(parameter, {}).items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of another optimizer of the same network."""
        owners = {name: (optimizer, parameter) for name, optimizer, parameter in self._owned()}
        for name, value in state.items():
            parameter_name, entry = name.rsplit(".", 1)
            optimizer, parameter = owners[parameter_name]
            # In the parameter's memory order; the number of steps is a scalar.
            kept = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            optimizer.state[parameter][entry] = kept.copy_(value)

    def _owned(self) -> Iterator[tuple[str, torch.optim.Optimizer, Tensor]]:
        """Every parameter's name, the optimizer that updates it, and what that updates."""
        owner = {id(p): o for o in self._optimizers for group in o.param_groups for p in group["params"]}
        for name, parameter in self._updated.items():
            yield name, owner[id(parameter)], parameter


def _as_matrix(values: Tensor) -> Tensor:
    """(out, ...) -> (out, the rest), on the same memory in both memory orders of a convolution's weights."""
    if values.ndim == 4 and not values.is_contiguous():
        values = values.permute(0, 2, 3, 1)
    return values.flatten(1)
