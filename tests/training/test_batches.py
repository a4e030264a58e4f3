import numpy as np
import pytest
import torch

from search.training.batches import flips_and_quarter_turns


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


def test_orientations_follow_from_the_generator_alone():
    images = random_images(100)
    assert torch.equal(augmented(images, seed=3), augmented(images, seed=3))
    assert not torch.equal(augmented(images, seed=3), augmented(images, seed=4))
    others = random_images(100, seed=1)
    assert drawn(images, augmented(images, seed=3)) == drawn(others, augmented(others, seed=3))


def test_the_generator_goes_on():
    images, generator = random_images(100), torch.Generator().manual_seed(0)
    first, second = (flips_and_quarter_turns(images, generator) for _ in range(2))
    assert not torch.equal(first, second)


def test_torchs_global_generator_is_left_alone():
    state = torch.get_rng_state()
    augmented(random_images(10))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_input_is_left_alone():
    images = random_images(50)
    before = images.clone()
    turned = augmented(images)
    assert torch.equal(images, before)
    turned.zero_()
    assert torch.equal(images, before)


def test_no_images_give_no_images():
    assert augmented(random_images(0)).shape == (0, 6, 6, 3)
