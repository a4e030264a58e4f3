"""LeNet-5 as a torch module."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Table I: the maps of S2 that each of the 16 maps of C3 is connected to.
C3_INPUTS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
KERNEL = 5


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which maps 1 to 1 and -1 to -1."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; it stays."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Grey(nn.Module):
    """Luminance, from red, green and blue."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(LUMINANCE).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H, W)."""
        return F.conv2d(x_NCHW, self.get_buffer("weight"))


class Subsampling(nn.Module):
    """The sum of each 2x2 square, times a coefficient of its channel, plus a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels, 1, 1), 1 / 4))  # starts as the mean
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H/2, W/2)."""
        # Not by the pool's own divisor, which exporters to ONNX ignore.
        return 4 * F.avg_pool2d(x_NCHW, 2) * self.coefficient + self.bias


class TableConvolution(nn.Module):
    """A convolution whose outputs see some inputs only; only their kernels are parameters."""

    def __init__(self, in_channels: int, inputs: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.shape = (len(inputs), in_channels, KERNEL, KERNEL)
        places = [output * in_channels + source for output, seen in enumerate(inputs) for source in seen]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(places), KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(len(inputs)))
        std = torch.tensor([(len(seen) * KERNEL**2) ** -0.5 for seen in inputs for _ in seen])
        with torch.no_grad():
            self.weight.normal_().mul_(std[:, None, None])

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, outputs, H-4, W-4)."""
        n_outputs, n_inputs, *kernel = self.shape
        kernels = self.weight.new_zeros(n_outputs * n_inputs, *kernel)
        kernels = kernels.index_copy(0, self.get_buffer("places"), self.weight)
        return F.conv2d(x_NCHW, kernels.reshape(self.shape), self.bias)


class LeNet5Network(nn.Module):
    """C1, S2, C3, S4, C5 and F6, each followed by the scaled tanh, and a linear layer of logits.

    The published output layer measures distances to fixed drawings of the digits; cell types have none. Weights
    start with standard deviation fan_in ** -1/2, biases at 0.

    Source of the initialisation: LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", for this tanh.
    """

    head = "output"
    stages = ("c1", "s2", "c3", "s4")

    def __init__(self, n_classes: int, *, colour: bool, input_px: int) -> None:
        super().__init__()
        last_px = input_px // 4 - 3
        self.grey = nn.Identity() if colour else Grey()
        self.c1 = _squashed(nn.Conv2d(3 if colour else 1, 6, KERNEL))
        self.s2 = _squashed(Subsampling(6))
        self.c3 = _squashed(TableConvolution(6, C3_INPUTS))
        self.s4 = _squashed(Subsampling(16))
        self.c5 = _squashed(nn.Conv2d(16, 120, last_px))
        self.f6 = _squashed(nn.Linear(120, 84))
        self.output = nn.Linear(84, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=math.prod(module.weight.shape[1:]) ** -0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised images (N, 3, input_px, input_px) -> logits (N, n_classes)."""
        maps = self.s4(self.c3(self.s2(self.c1(self.grey(images_NCHW)))))
        return self.output(self.f6(self.c5(maps).flatten(1)))


def _squashed(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, ScaledTanh())
