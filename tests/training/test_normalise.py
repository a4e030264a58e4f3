import pytest
import torch

from search.training.batches import measure, normalise

SIDE, N_IMAGES = 12, 40
ALL = torch.arange(N_IMAGES)


def noise(n_images=N_IMAGES):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n_images, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def plain_colours(values):
    """One grey image per value."""
    return torch.as_tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, SIDE, SIDE, 3).contiguous()


@pytest.mark.parametrize("n_images", [1, 7, 600])
def test_normalisation_measures_the_given_images_alone(n_images):
    # More images than fit one part of the computation; the others would show at once.
    images = noise(700) // torch.tensor([1, 2, 5], dtype=torch.uint8)
    indices = torch.randperm(700, generator=torch.Generator().manual_seed(0))[:n_images]
    chosen = images[indices].numpy().reshape(-1, 3).astype(float)
    others = torch.ones(700, dtype=torch.bool)
    others[indices] = False
    images[others] = 255
    measured = measure(images, indices)
    assert measured.mean == pytest.approx(chosen.mean(0), rel=1e-12)
    assert measured.std == pytest.approx(chosen.std(0), rel=1e-12)


def test_normalised_images_have_mean_0_and_std_1():
    images = noise()
    before = images.clone()
    normalised = normalise(images, measure(images, ALL))
    assert normalised.shape == (N_IMAGES, 3, SIDE, SIDE)
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert normalised.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert normalised.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], rel=1e-4)
    assert torch.equal(images, before)


def test_normalisation_keeps_the_channels_apart():
    images = plain_colours([0, 0]).clone()
    images[0, ..., 1], images[1, ..., 2] = 100, 200
    measured = measure(images, torch.arange(2))
    assert measured.mean == pytest.approx((0, 50, 100))
    assert measured.std[1:] == pytest.approx((50, 100))
    assert normalise(images, measured)[:, :, 0, 0].tolist() == [[0, 1, -1], [0, -1, 1]]


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_constant_channel_is_not_divided_by_zero(value):
    images = plain_colours([value, value])
    measured = measure(images, torch.arange(2))
    assert min(measured.std) > 0
    assert not normalise(images, measured).any()
