import numpy as np
import pytest
import torch

from search.training.batches import flips_and_quarter_turns, measure, normalise


def random_images(n_images, side=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n_images, side, side, 3), dtype=torch.uint8, generator=generator)


def augmented(images_NHWC, seed=0):
    return flips_and_quarter_turns(images_NHWC, torch.Generator().manual_seed(seed))


def orientations(image_HWC):
    """The eight orientations of a square, by numpy."""
    image = image_HWC.numpy()
    return [np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)]


def drawn(images_NHWC, turned_NHWC):
    """Which of its eight orientations each image was given."""
    return [
        [np.array_equal(turned.numpy(), choice) for choice in orientations(image)].index(True)
        for image, turned in zip(images_NHWC, turned_NHWC, strict=True)
    ]


@pytest.mark.parametrize("side", [1, 2, 5, 6])
def test_every_image_keeps_its_place_and_gets_one_of_eight_orientations(side):
    images = random_images(64, side)
    turned = augmented(images)
    assert turned.shape == images.shape
    assert turned.dtype == torch.uint8
    drawn(images, turned)  # finds each image among its orientations


def test_all_eight_occur_about_equally_often():
    images = random_images(1600)
    counts = np.bincount(drawn(images, augmented(images)), minlength=8)
    assert counts.min() > 140  # 4.5 standard deviations below the 200 expected
    assert counts.max() < 260


def test_orientations_depend_on_the_generator_only():
    images, others = random_images(100), random_images(100, seed=1)
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(3)
    first, second = (flips_and_quarter_turns(images, generator) for _ in range(2))
    assert torch.equal(augmented(images, seed=3), first)
    assert not torch.equal(second, first)
    assert drawn(images, first) == drawn(others, augmented(others, seed=3))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_input_of_an_augmentation_is_not_changed():
    images = random_images(50)
    before = images.clone()
    augmented(images).zero_()
    assert torch.equal(images, before)
    assert augmented(random_images(0)).shape == (0, 6, 6, 3)


@pytest.mark.parametrize("n_images", [1, 7, 600])
def test_the_measured_images_are_those_at_the_indices(n_images):
    # 600 images are measured in several parts.
    images = random_images(700, side=12) // torch.tensor([1, 2, 5], dtype=torch.uint8)
    indices = torch.randperm(700, generator=torch.Generator().manual_seed(0))[:n_images]
    chosen = images[indices].numpy().reshape(-1, 3).astype(float)
    others = torch.ones(700, dtype=torch.bool)
    others[indices] = False
    images[others] = 255
    measured = measure(images, indices)
    assert measured.mean == pytest.approx(chosen.mean(0), rel=1e-12)
    assert measured.std == pytest.approx(chosen.std(0), rel=1e-12)


def test_normalised_images_have_mean_0_and_std_1_in_every_channel():
    images = random_images(40, side=12) // torch.tensor([1, 2, 5], dtype=torch.uint8)
    before = images.clone()
    normalised = normalise(images, measure(images, torch.arange(40)))
    assert normalised.shape == (40, 3, 12, 12)
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert normalised.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert normalised.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], rel=1e-4)
    assert torch.equal(images, before)


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_constant_channel_is_not_divided_by_zero(value):
    images = torch.full((2, 4, 4, 3), value, dtype=torch.uint8)
    measured = measure(images, torch.arange(2))
    assert min(measured.std) > 0
    assert not normalise(images, measured).any()
