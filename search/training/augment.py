"""Random changes of batches of images on the device: other stains, cameras, focus and magnification.

All changes of colour are affine: those of light in the values, those of stain in the optical density. Whatever is
asked for, a batch takes one product in each of the two, and one resampling.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from search.space import Augmentation, StainStyle

# Optical densities (red, green, blue) of haematoxylin, eosin and what is left: Ruifrok & Johnston, Quantification
# of histochemical staining by color deconvolution (2001), normalised to unit length as there.
HED = F.normalize(torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]), dim=1)
# From red, green and blue to lightness and two colour axes, about which hue turns: the television standard NTSC.
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
LIGHT = 256.0  # the value of glass in optical densities; a value v has -ln((v + 1) / 256)
# Spread of random colours at full strength, of means and of logarithms of standard deviations. Between the mean
# densities of four laboratories' images, the standard deviation is SPREAD_OF_MEANS at the most.
SPREAD_OF_MEANS, SPREAD_OF_SCALES = 0.25, 0.25

# Densities of the 256 values: looking them up takes a quarter of the time of a logarithm.
DENSITIES = -torch.log((torch.arange(256) + 1) / LIGHT)

# A matrix (N, 3, 3) and an offset (N, 3) for each image, on the CPU.
Affine = tuple[Tensor, Tensor]


def augment(images_NHWC: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Change every image at random.

    Args:
        images_NHWC: uint8, (N, side, side, 3), on any device; not written to.
        generator: a CPU generator, so that a seed gives the same draws on every device.
    Returns:
        The images themselves if every strength is 0, else float32 of the same shape, from 0 to 255.
    """
    if augmentation == Augmentation() or len(images_NHWC) == 0:
        return images_NHWC
    # A plane per channel: products of all pixels with a matrix take a tenth of the time.
    planes = images_NHWC.permute(0, 3, 1, 2).contiguous()
    if augmentation.hed or augmentation.stain:
        densities = density(planes)
        images = value(_apply(_stain_change(densities, augmentation, generator), densities))
    else:
        images = planes.float()
    if augmentation.brightness or augmentation.contrast or augmentation.saturation or augmentation.hue:
        images = _apply(_light_change(images, augmentation, generator), images)
    if augmentation.zoom or augmentation.rotation_deg:
        images = _resampled(images, augmentation, generator)
    if augmentation.blur_px:
        images = _blurred(images, augmentation.blur_px, generator)
    return images.clamp_(0, 255).permute(0, 2, 3, 1).contiguous()


def density(images: Tensor) -> Tensor:
    """Optical density of uint8 values, from 0 for the brightest to 5.5; same shape."""
    return DENSITIES.to(images.device).index_select(0, images.flatten().int()).view_as(images)


def value(densities: Tensor) -> Tensor:
    """The values of optical densities; outside 0 to 255 where a density is."""
    return densities.neg().exp_().mul_(LIGHT).sub_(1)


def resampled(images_NCHW: Tensor, factors: Tensor, angles_rad: Tensor) -> Tensor:
    """Zoom and turn float images about their centres, by bilinear interpolation.

    Args:
        factors, angles_rad: (N,), on the CPU; a factor above 1 enlarges.
    Returns:
        Same shape; beyond its border an image is mirrored.
    """
    cos, sin, zero = angles_rad.cos() / factors, angles_rad.sin() / factors, torch.zeros(len(factors))
    matrices = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).to(images_NCHW.device)
    grid = F.affine_grid(matrices, list(images_NCHW.shape), align_corners=False)
    return F.grid_sample(images_NCHW, grid, padding_mode="reflection", align_corners=False)


def stain_style(images_NHWC: Tensor) -> StainStyle:
    """The colours of a laboratory, from unlabelled images, uint8 (N, side, side, 3): means over its images."""
    mean, std = _mean_std(density(images_NHWC.permute(0, 3, 1, 2).contiguous()))
    return StainStyle(mean=_triple(mean.mean(0)), std=_triple(std.mean(0)))


def _mean_std(planes_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image's channels, (N, 3), on the CPU; torch's own takes a hundred times as long."""
    mean, of_squares = planes_NCHW.mean((2, 3)), planes_NCHW.square().mean((2, 3))
    return mean.cpu(), (of_squares - mean.square()).clamp(min=0).sqrt().cpu()


def _triple(values: Tensor) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third


def _uniform(n: int, low: float, high: float, generator: torch.Generator, *more: int) -> Tensor:
    """(n, *more) numbers between low and high."""
    return low + (high - low) * torch.rand(n, *more, generator=generator)


def _apply(change: Affine, images_NCHW: Tensor) -> Tensor:
    """Multiply the colours of each image, as columns, by its matrix, and add its offset."""
    matrices, offsets = (part.to(images_NCHW.device) for part in change)
    return torch.baddbmm(offsets[:, :, None], matrices, images_NCHW.flatten(2)).view_as(images_NCHW)


def _after(second: Affine, first: Affine) -> Affine:
    """One change after another, as one."""
    return second[0] @ first[0], _moved(second, first[1])


def _moved(change: Affine, colours: Tensor) -> Tensor:
    """Where a change takes one colour (N, 3) of each image."""
    return (change[0] @ colours[..., None]).squeeze(-1) + change[1]


def _identity(n: int) -> Affine:
    return torch.eye(3).expand(n, 3, 3), torch.zeros(n, 3)


def _stain_change(densities_NCHW: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Affine:
    """A change of optical densities: other colours of the stain, then other amounts of each dye."""
    n, change = len(densities_NCHW), _identity(len(densities_NCHW))
    if augmentation.stain:
        mean, std = _mean_std(densities_NCHW)
        scale, new_mean = _new_colours(mean, std, augmentation, generator)
        change = torch.diag_embed(scale), new_mean - scale * mean
    if augmentation.hed:
        factors = _uniform(n, 1 - augmentation.hed, 1 + augmentation.hed, generator, 3)
        amounts = _uniform(n, -augmentation.hed, augmentation.hed, generator, 3)
        to_dyes, from_dyes = torch.linalg.inv(HED.T), HED.T
        dyes: Affine = from_dyes @ torch.diag_embed(factors) @ to_dyes, amounts @ from_dyes.T
        change = _after(dyes, change)
    return change


def _new_colours(
    mean: Tensor, std: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Factors on the spread of the densities (N, 3) of each image, and their new means."""
    n, strength = len(mean), augmentation.stain
    if not augmentation.styles:
        shift, stretch = (strength * torch.randn(n, 3, generator=generator) for _ in range(2))
        return (SPREAD_OF_SCALES * stretch).exp(), mean + SPREAD_OF_MEANS * shift
    drawn = torch.randint(len(augmentation.styles), (n,), generator=generator)
    share = _uniform(n, 0, strength, generator, 1)
    means, stds = (
        torch.tensor([getattr(s, part) for s in augmentation.styles])[drawn] for part in ("mean", "std")
    )
    # An image of one colour has no spread to change.
    ratio = torch.where(std > 0, stds / std.clamp(min=1e-6), 1.0)
    return ratio**share, mean + share * (means - mean)


def _light_change(images_NCHW: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Affine:
    """A change of values: brightness, contrast, saturation and hue, in this order."""
    n, grey = len(images_NCHW), YIQ[0]
    eye, none = _identity(n)

    def factors(strength: float) -> Tensor:
        return _uniform(n, 1 - strength, 1 + strength, generator, 1)

    change: Affine = eye, none
    if augmentation.brightness:
        change = eye * factors(augmentation.brightness)[..., None], none
    if augmentation.contrast:
        kept = factors(augmentation.contrast)
        mean = _moved(change, images_NCHW.mean((2, 3)).cpu())
        change = _after((eye * kept[..., None], (1 - kept) * (mean @ grey)[:, None].expand(n, 3)), change)
    if augmentation.saturation:
        kept = factors(augmentation.saturation)[..., None]
        change = _after((kept * eye + (1 - kept) * grey.expand(3, 3), none), change)
    if augmentation.hue:
        angle = 2 * math.pi * _uniform(n, -augmentation.hue, augmentation.hue, generator)
        turn = torch.zeros(n, 3, 3)
        turn[:, 0, 0] = 1
        turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
        turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
        change = _after((torch.linalg.inv(YIQ) @ turn @ YIQ, none), change)
    return change


def _resampled(images_NCHW: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Each zoomed and turned by a factor and an angle of its own."""
    n, most = len(images_NCHW), math.log1p(augmentation.zoom)
    factors = _uniform(n, -most, most, generator).exp()
    most_rad = math.radians(augmentation.rotation_deg)
    return resampled(images_NCHW, factors, _uniform(n, -most_rad, most_rad, generator))


def _blurred(images_NCHW: Tensor, most_px: float, generator: torch.Generator) -> Tensor:
    """Each blurred by a Gaussian of its own, along columns and along rows; its border continues outwards."""
    n, channels, side, _ = images_NCHW.shape
    reach = math.ceil(2 * most_px)
    sigma = _uniform(n, 0, most_px, generator, 1).clamp(min=1e-3)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(images_NCHW.device)
    # Every plane has a kernel of its own, as in a convolution of one image with as many groups as planes.
    planes = F.pad(images_NCHW, (reach,) * 4, mode="replicate").view(1, n * channels, side + 2 * reach, -1)
    for kernels in (weights[:, None, :, None], weights[:, None, None, :]):
        planes = F.conv2d(planes, kernels, groups=n * channels)
    return planes.view_as(images_NCHW)
