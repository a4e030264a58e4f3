"""A trained network with all that is done to its images, as one torch module that can be exported."""

from functools import partial

import torch
from torch import Tensor, nn

from search.training.batches import normalise
from search.training.nuclei import BACKGROUND_PERCENTILE
from search.training.trainedmodel import TrainedModel

# Pillow rounds the weights of its filters to multiples of 2 ** -22 (PRECISION_BITS in src/libImaging/Resample.c).
WEIGHT_STEPS = 2**22


class Classifier(nn.Module):
    """A network with preparation, normalisation and temperature: squares in, probabilities and logits out."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.network = model.build().eval()
        self.whitens = model.preparation.stain == "white"
        self.normalise = partial(normalise, normalisation=model.normalisation)
        self.temperature = model.temperature

    def forward(self, squares_NHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Images of the network's side, 0..255, (N, side, side, 3) -> two tensors (N, n_classes)."""
        if self.whitens:
            squares_NHWC = whitened(squares_NHWC)
        logits = self.network(self.normalise(squares_NHWC.float()))
        return torch.softmax(logits / self.temperature, dim=1), logits


class PhotoClassifier(nn.Module):
    """The same for images of any size, which are cropped and scaled first."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.classifier = Classifier(model)
        self.side_px = model.config.input_px

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB images, uint8 (N, height, width, 3) -> probabilities and logits, (N, n_classes)."""
        probabilities, logits = self.classifier(resized_squares(images, self.side_px))
        return probabilities, logits


def resized_squares(images_NHWC: Tensor, side_px: int) -> Tensor:
    """What `search.data.decode.resize_square` does to each image, to the bit.

    Each direction is a matrix product with the weights of Pillow's bilinear filter, first along rows, as there.
    The crop is part of it: pixels outside of the centre square have no weight. float64 holds the sums exactly.

    Args:
        images_NHWC: uint8, (N, height, width, 3); height and width may be symbols.
    Returns:
        float64 whole numbers, (N, side_px, side_px, 3).
    """
    height, width = images_NHWC.shape[1:3]
    short = torch.minimum(_length(height), _length(width))
    planes_NCHW = images_NHWC.permute(0, 3, 1, 2).double()
    in_width = _rounded(planes_NCHW @ _weights(width, short, side_px).T)
    return _rounded(_weights(height, short, side_px) @ in_width).permute(0, 2, 3, 1)


def whitened(squares_NHWC: Tensor) -> Tensor:
    """What the preparation stain="white" does: each image divided by the colour of its own background.

    See `search.training.prepare.stained`; of all preparations, this one alone looks at single images.
    """
    brightest = squares_NHWC.double().flatten(1, 2).sort(dim=1).values
    place = BACKGROUND_PERCENTILE / 100 * (brightest.shape[1] - 1)
    below = int(place)
    colour = torch.lerp(brightest[:, below], brightest[:, min(below + 1, brightest.shape[1] - 1)], place - below)
    shares = squares_NHWC.float() / colour.clamp(min=1).float()[:, None, None]
    return (shares.clamp(0, 1) * 255).round()


def _length(n: int) -> Tensor:
    """A side, which may be a symbol, as a tensor."""
    return torch.ops.aten.scalar_tensor(n, dtype=torch.float64)


def _weights(n: int, short: Tensor, side_px: int) -> Tensor:
    """Weights (side_px, n) that scale the middle `short` of n pixels to side_px pixels.

    Source: precompute_coeffs and normalize_coeffs_8bpc in src/libImaging/Resample.c of Pillow.
    """
    first = torch.floor((_length(n) - short) / 2)
    places = torch.arange(n, dtype=torch.float64) - first
    scale = short / side_px
    centres = (torch.arange(side_px, dtype=torch.float64) + 0.5) * scale
    # The filter is widened if the image shrinks, so that no pixel is skipped.
    distances = (places + 0.5 - centres[:, None]).abs() / scale.clamp(min=1)
    weights = (1 - distances).clamp(min=0) * ((places >= 0) & (places < short))
    return _rounded(weights / weights.sum(1, keepdim=True) * WEIGHT_STEPS) / WEIGHT_STEPS


def _rounded(values: Tensor) -> Tensor:
    """Rounded half up, as Pillow does; torch rounds half to even."""
    return torch.floor(values + 0.5)
