import math
from dataclasses import fields, replace

import pytest
import torch

from search.space import Augmentation, StainStyle, TrainingConfig
from search.training.augment import HED, augment, density, resampled, stain_style, value
from search.training.batches import measure
from search.training.device import Device
from search.training.fit import fit, on_device
from search.training.folds import restore, state_of
from search.training.sgd import SGD
from wbcmodels.config import ModelConfig

SIDE = 12
CPU = Device(torch.device("cpu"), bf16=False)
STYLE = StainStyle(mean=(0.3, 0.5, 0.2), std=(0.2, 0.3, 0.1))
ONE_BY_ONE = {
    "brightness": Augmentation(brightness=0.3),
    "contrast": Augmentation(contrast=0.3),
    "saturation": Augmentation(saturation=0.5),
    "hue": Augmentation(hue=0.1),
    "hed": Augmentation(hed=0.2),
    "stain": Augmentation(stain=1.0),
    "styles": Augmentation(stain=1.0, styles=(STYLE,)),
    "blur": Augmentation(blur_px=1.5),
    "zoom": Augmentation(zoom=0.5),
    "rotation": Augmentation(rotation_deg=45.0),
}
EVERYTHING = Augmentation(
    brightness=0.3, contrast=0.3, saturation=0.5, hue=0.1, hed=0.2, stain=0.5, styles=(STYLE,),
    blur_px=1.5, zoom=0.5, rotation_deg=20.0,
)  # fmt: skip
CASES = [*ONE_BY_ONE.values(), EVERYTHING]
NAMES = [*ONE_BY_ONE, "everything"]
COLOURS = ["brightness", "contrast", "saturation", "hue", "hed", "stain", "styles"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n_images=20, side=SIDE, seed=0):
    return torch.randint(256, (n_images, side, side, 3), dtype=torch.uint8, generator=generator(seed))


def one_colour(colour, n_images=20):
    return torch.tensor(colour, dtype=torch.uint8).expand(n_images, SIDE, SIDE, 3).contiguous()


def test_strengths_of_zero_give_the_images_themselves_and_draw_nothing():
    images, random = noise(), generator()
    before = random.get_state()
    assert augment(images, Augmentation(), random) is images
    assert torch.equal(random.get_state(), before)


@pytest.mark.parametrize("augmentation", CASES, ids=NAMES)
def test_values_stay_in_range_and_inputs_as_they_are(augmentation):
    images = noise()
    before = images.clone()
    changed = augment(images, augmentation, generator())
    assert torch.equal(images, before)
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert changed.is_contiguous()
    assert 0 <= changed.min() < changed.max() <= 255
    assert not torch.allclose(changed, images.float(), atol=2)


@pytest.mark.parametrize("augmentation", CASES, ids=NAMES)
def test_a_change_depends_on_the_generator_alone(augmentation):
    images, state = noise(), torch.get_rng_state()
    first, again, other = (augment(images, augmentation, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("augmentation", CASES, ids=NAMES)
def test_images_have_draws_of_their_own(augmentation):
    same = noise(1).expand(6, -1, -1, -1)
    changed = augment(same, augmentation, generator())
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 6


@pytest.mark.parametrize("name", COLOURS)
def test_changes_of_colour_leave_everything_in_its_place(name):
    # Equal colours stay equal, wherever they are.
    images = noise() // 128 * 100 + 60
    changed = augment(images, ONE_BY_ONE[name], generator())
    for before, after in zip(images.flatten(1, 2), changed.flatten(1, 2), strict=True):
        for colour in before.unique(dim=0):
            places = (before == colour).all(1)
            assert after[places].std(0, correction=0).max() < 1e-3


@pytest.mark.parametrize("name", ["blur", "zoom", "rotation", "contrast", "saturation", "hue"])
def test_a_grey_image_stays_as_it_is_where_only_places_or_tints_change(name):
    grey = one_colour((120, 120, 120))
    assert torch.allclose(augment(grey, ONE_BY_ONE[name], generator()), grey.float(), atol=0.05)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_spread_over_the_range_that_is_asked_for(name):
    strength = 0.2
    images = torch.zeros(400, 4, 4, 3, dtype=torch.uint8)
    images[:, :2] = torch.tensor([140, 100, 80], dtype=torch.uint8)
    images[:, 2:] = torch.tensor([100, 140, 80], dtype=torch.uint8)
    changed = augment(images, Augmentation(**{name: strength}), generator())
    if name == "brightness":
        factors = changed[:, 0, 0, 0] / 140
    elif name == "contrast":
        factors = (changed[:, 0, 0, 0] - changed[:, 3, 0, 0]) / 40
    else:
        factors = (changed[:, 0, 0, 0] - changed[:, 0, 0, 2]) / 60
    assert 0.8 - 1e-4 <= factors.min() < 0.81
    assert 1.19 < factors.max() <= 1.2 + 1e-4
    assert abs(factors.mean() - 1) < 0.03


def test_densities_and_values_are_each_others_inverse():
    values = torch.arange(256, dtype=torch.uint8)
    densities = density(values)
    assert densities[255] == 0
    assert torch.all(densities.diff() < 0)
    assert torch.allclose(value(densities), values.float(), atol=1e-3)


def test_the_amounts_of_two_dyes_vary_and_their_colours_stay():
    # A pixel of haematoxylin alone moves along its own colour, and by an offset.
    amounts = torch.linspace(0.2, 1.0, SIDE)
    densities = (amounts[:, None] * HED[0]).expand(1, SIDE, SIDE, 3)
    images = value(densities.clone()).round().byte().expand(50, -1, -1, -1)
    changed = augment(images, Augmentation(hed=0.05), generator())
    between = -torch.log((changed + 1) / 256).diff(dim=2)[:, 0].sum(1)
    along = between / between.norm(dim=1, keepdim=True)
    assert torch.allclose(along, HED[0].expand(50, 3), atol=0.02)


def test_a_stain_at_full_strength_lies_between_the_own_colours_and_those_of_the_style():
    images = noise(200) // 4 + 150
    style = StainStyle(mean=(0.2, 0.6, 0.3), std=(0.1, 0.15, 0.05))
    changed = augment(images, Augmentation(stain=1.0, styles=(style,)), generator())
    own, new, wanted = (
        torch.tensor(found.mean) for found in (stain_style(images), stain_style(changed.round().byte()), style)
    )
    assert torch.allclose(new, (own + wanted) / 2, atol=0.03)  # half of the way on average
    shares = ((-torch.log((changed + 1) / 256)).mean((1, 2)) - own)[:, 1] / (wanted - own)[1]
    assert shares.min() > -0.05
    assert shares.max() < 1.05


def test_a_blur_keeps_the_light_and_takes_the_contrast():
    images = noise(50)
    blurred = augment(images, Augmentation(blur_px=1.5), generator())
    assert blurred[:, 4:-4, 4:-4].mean() == pytest.approx(images[:, 4:-4, 4:-4].float().mean(), abs=3)
    assert (blurred.std((1, 2)) <= images.float().std((1, 2)) + 1e-3).all()


def test_a_resampling_zooms_and_turns_about_the_centre():
    images = noise(1).permute(0, 3, 1, 2).float()
    one, none = torch.ones(1), torch.zeros(1)
    assert torch.allclose(resampled(images, one, none), images, atol=1e-3)
    quarter = resampled(images, one, torch.full((1,), math.pi / 2))
    assert any(torch.allclose(quarter, images.rot90(k, (2, 3)), atol=0.05) for k in (1, 3))
    spot = torch.zeros(1, 1, 16, 16)
    spot[:, :, 6:10, 6:10] = 1
    doubled = resampled(spot, 2 * one, none)
    assert doubled.sum() == pytest.approx(4 * 16, rel=0.02)
    assert doubled[0, 0, 5:11, 5:11].min() == 1


@pytest.mark.parametrize("field", [field.name for field in fields(Augmentation) if field.name != "styles"])
@pytest.mark.parametrize("strength", [-0.1, 46.0, math.nan, math.inf])
def test_a_strength_that_cannot_be_is_refused(field, strength):
    with pytest.raises(ValueError, match=field):
        Augmentation(**{field: strength})


def test_styles_without_a_strength_are_refused():
    with pytest.raises(ValueError, match="styles"):
        Augmentation(styles=(STYLE,))


# In a training


def train(augmentation, *, epochs=3, stop_after=None, resume_from=None, labels=None):
    images = noise(24)
    labels = torch.arange(24) % 3 if labels is None else labels
    config = TrainingConfig(epochs=epochs, lr=0.01, batch_size=8, augmentation=augmentation)
    model = on_device(ModelConfig(width=0.125, input_px=SIDE, dropout=0.5).build(3, 0), CPU)
    optimizer = SGD(model, config)
    done = 0
    if resume_from is not None:
        restore(resume_from, model, optimizer)
        done = resume_from.epoch
    indices = torch.arange(24)
    found = []
    for epoch in fit(
        model, optimizer, images, labels, indices, config, measure(images, indices), n_classes=3, seed=0,
        device=CPU, epochs_done=done,
    ):  # fmt: skip
        found.append(epoch.train_loss)
        if epoch.epoch == stop_after:
            break
    return found, state_of(model, optimizer, epoch=done + len(found), train_s=0.0)


def test_a_resumed_training_is_augmented_like_an_unbroken_one():
    whole, ended = train(EVERYTHING)
    first, stopped = train(EVERYTHING, stop_after=1)
    rest, resumed = train(EVERYTHING, resume_from=stopped)
    assert first + rest == whole
    assert all((ended.weights[name] == resumed.weights[name]).all() for name in ended.weights)


@pytest.mark.parametrize("augmentation", CASES, ids=NAMES)
def test_a_training_sees_augmented_images(augmentation):
    assert train(augmentation, epochs=1)[0] != train(Augmentation(), epochs=1)[0]


def test_images_keep_their_labels():
    # Darkness is the label: whatever is drawn, a network learns it only if images and labels stay together.
    labels = torch.arange(24) % 2
    images = noise(24) // 4 + 20
    images[labels == 1] += 150
    augmentation = Augmentation(brightness=0.1, zoom=0.3, rotation_deg=30.0, blur_px=1.0)
    config = TrainingConfig(epochs=6, lr=0.01, batch_size=8, augmentation=augmentation)
    model = on_device(ModelConfig(width=0.125, input_px=SIDE, dropout=0.0).build(2, 0), CPU)
    indices = torch.arange(24)
    normalisation = measure(images, indices)
    *_, last = fit(
        model, SGD(model, config), images, labels, indices, config, normalisation, n_classes=2, seed=0, device=CPU
    )
    assert last.train_accuracy == 1
    assert replace(config, augmentation=Augmentation()) != config
