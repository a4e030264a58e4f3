from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from torchstain.torch.normalizers.macenko import TorchMacenkoNormalizer

from search.space import Background, Configuration, Preparation, Scale, Stain, TrainingConfig
from search.training.device import Device
from search.training.folds import run_task
from search.training.nuclei import nuclei
from search.training.prepare import (
    NUCLEUS_SHARE,
    REFERENCE_AMOUNTS,
    REFERENCE_STAINS,
    TO_LAB,
    TO_LMS,
    amounts_of,
    macenko_stains,
    prepare,
    prepared_images,
    reinhard_axes,
    zoom_factor,
    zoomed,
)
from search.training.trainedmodel import TrainedModel, load_model, save_model
from search.training.types import Images, Task
from wbcmodels.config import ModelConfig
from wbcmodels.traditional.config import Traditional

SIDE = 32
CPU = Device(torch.device("cpu"), bf16=False)
EVERY = [
    Preparation(stain=stain, background=ground, scale=scale)
    for stain, ground, scale in product(get_args(Stain), get_args(Background), get_args(Scale))
]
CHANGING = [preparation for preparation in EVERY if preparation != Preparation()]


def disc(radius, side=SIDE):
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(rows, columns) <= radius


def laboratory(n_images=12, *, strength=1.0, glass=(250, 235, 215), zoom=1.0, seed=0):
    """Cells with purple nuclei and pink cytoplasm, as one laboratory stains and magnifies them."""
    generator = np.random.default_rng(seed)
    images = np.empty((n_images, SIDE, SIDE, 3))
    for image in images:
        densities = np.zeros((SIDE, SIDE, 3))
        radius = zoom * generator.uniform(5, 6)
        densities[disc(radius * 1.6)] = (0.05, 0.3, 0.1)
        densities[disc(radius)] = (0.9, 1.5, 0.5)
        densities *= strength * generator.uniform(0.9, 1.1, (SIDE, SIDE, 1))
        image[:] = glass * np.exp(-densities)
    return images.round().astype(np.uint8)


@pytest.mark.parametrize("preparation", EVERY, ids=str)
def test_a_preparation_gives_images_again_and_always_the_same(preparation):
    images = laboratory()
    before = images.copy()
    prepared = prepare(images, preparation)
    assert prepared.dtype == np.uint8
    assert prepared.shape == images.shape
    assert np.array_equal(images, before)
    assert np.array_equal(prepare(images, preparation), prepared)
    assert (prepared is images) == (preparation == Preparation())


@pytest.mark.parametrize("preparation", EVERY, ids=str)
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_images_without_a_cell_are_prepared_too(preparation, colour):
    assert prepare(np.full((3, SIDE, SIDE, 3), colour, np.uint8), preparation).shape == (3, SIDE, SIDE, 3)
    assert len(prepare(np.empty((0, SIDE, SIDE, 3), np.uint8), preparation)) == 0


@pytest.mark.parametrize("stain", ["reinhard", "macenko"])
def test_a_stain_makes_two_laboratories_alike(stain):
    one, other = laboratory(), laboratory(strength=0.5, glass=(200, 205, 190), seed=1)

    def apart(preparation):
        colours = [prepare(images, preparation)[:, disc(8)].reshape(-1, 3) for images in (one, other)]
        return np.abs(colours[0].mean(0) - colours[1].mean(0)).max()

    assert apart(Preparation(stain=stain)) < apart(Preparation(stain="white")) / 3


def test_white_glass_is_white():
    corner = prepare(laboratory(glass=(200, 205, 190)), Preparation(stain="white"))[:, :3, :3]
    assert (corner == 255).all()


def test_the_background_becomes_white_and_the_cell_stays():
    images = laboratory()
    prepared = prepare(images, Preparation(background="white"))
    assert np.array_equal(prepared[:, disc(5)], images[:, disc(5)])
    assert (prepared[:, 0] == 255).all()
    plain = np.full((1, SIDE, SIDE, 3), 90, np.uint8)
    assert np.array_equal(prepare(plain, Preparation(background="white")), plain)


@pytest.mark.parametrize("zoom", [0.7, 1.0, 1.5])
def test_the_scale_gives_nuclei_a_fixed_size(zoom):
    prepared = prepare(laboratory(zoom=zoom), Preparation(scale="nucleus"))
    share = np.sqrt(nuclei(prepared).sum((1, 2))) / SIDE
    assert np.percentile(share, 5) == pytest.approx(NUCLEUS_SHARE, rel=0.15)


def test_a_zoom_of_one_changes_nothing():
    images = laboratory()
    assert np.array_equal(zoomed(images, 1.0), images)
    assert zoom_factor(np.zeros((3, 8, 8), bool)) == 1


def test_an_image_alone_is_not_what_it_is_among_others():
    # Pale cells stay paler than dark ones of the same laboratory.
    images = np.concatenate([laboratory(6), laboratory(6, strength=0.6)])
    prepared = prepare(images, Preparation(stain="reinhard"))[:, disc(4)].mean((1, 2))
    assert prepared[:6].max() < prepared[6:].min()


# Published formulas


def test_the_axes_of_reinhard_are_decorrelated_and_grey_has_no_colour():
    assert np.allclose(TO_LAB @ TO_LAB.T, np.eye(3))
    assert np.allclose(TO_LMS.sum(1), 1, atol=0.01)
    greys = reinhard_axes(np.repeat(np.linspace(0.1, 1, 5)[:, None], 3, axis=1))
    assert np.abs(greys[:, 1:]).max() < 0.01
    assert (np.diff(greys[:, 0]) > 0).all()


def stained_pixels(stains, n=4000, seed=0):
    generator = np.random.default_rng(seed)
    amounts = generator.gamma(2, 0.4, (n, 2))
    amounts[: n // 10, 0] = amounts[n // 10 : n // 5, 1] = 0  # of one stain alone
    return amounts, amounts @ stains.T


def test_the_stains_that_pixels_were_made_of_are_found():
    stains = np.array([[0.65, 0.70, 0.29], [0.20, 0.95, 0.25]]).T
    stains /= np.linalg.norm(stains, axis=0)
    amounts, densities = stained_pixels(stains)
    found = macenko_stains(densities[1:])
    assert np.allclose(found, stains, atol=0.01)
    assert np.allclose(amounts_of(found, densities), amounts, atol=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_stains_are_those_of_torchstain(seed):
    # It reads images, and takes the nearest value for a percentile.
    stains = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]]).T
    _, densities = stained_pixels(stains, seed=seed)
    values = np.clip(240 * np.exp(-densities) - 1, 0, 255).round()
    theirs = TorchMacenkoNormalizer()
    theirs.fit(torch.from_numpy(values.reshape(40, 100, 3)).permute(2, 0, 1).to(torch.uint8))
    read = -np.log((values + 1) / 240)
    ours = macenko_stains(read[(read >= 0.15).all(1)])
    assert np.allclose(ours, theirs.HERef.numpy(), atol=0.005)
    most = np.percentile(amounts_of(ours, read), 99, axis=0)
    assert np.allclose(most, theirs.maxCRef.numpy(), rtol=0.02)


def test_the_references_are_stains():
    assert np.allclose(np.linalg.norm(REFERENCE_STAINS, axis=0), 1, atol=0.01)
    assert (REFERENCE_AMOUNTS > 0).all()


# In a training


def images(n_images=24):
    return Images(pixels={SIDE: laboratory(n_images)}, labels=np.arange(n_images) % 3, n_classes=3)


def task(preparation, **changes):
    model = ModelConfig(width=0.125, input_px=SIDE, dropout=0.0)
    configuration = Configuration(
        model=model, training=TrainingConfig(epochs=1, lr=0.01, batch_size=8), preparation=preparation
    )
    everything = np.arange(24)
    return Task(configuration=configuration, train=everything[:16], val=everything[16:], seed=0, **changes)


@pytest.mark.parametrize("preparation", CHANGING[:3] + CHANGING[-1:], ids=str)
def test_a_training_on_unprepared_images_is_one_on_prepared_images(preparation):
    given = images()
    by_hand = replace(given, pixels={SIDE: prepare(given.pixels[SIDE], preparation)})
    *_, inside = run_task(task(preparation), given, CPU)
    *_, outside = run_task(task(Preparation()), by_hand, CPU)
    assert np.array_equal(inside.score.probabilities, outside.score.probabilities)
    assert inside.score.normalisation == outside.score.normalisation


def test_a_data_set_is_prepared_once():
    given, preparation = images(), Preparation(stain="white")
    first = prepared_images(given, SIDE, preparation).pixels[SIDE]
    copied = replace(given, pixels={SIDE: given.pixels[SIDE].copy()})
    assert prepared_images(copied, SIDE, preparation).pixels[SIDE] is first
    other = replace(given, pixels={SIDE: 255 - given.pixels[SIDE]})
    assert not np.array_equal(prepared_images(other, SIDE, preparation).pixels[SIDE], first)
    assert prepared_images(given, SIDE, Preparation()) is given


@pytest.mark.parametrize("preparation", EVERY, ids=str)
def test_a_saved_network_prepares_what_it_classifies(tmp_path, preparation):
    *_, last = run_task(task(preparation, keep_weights=True), images(), CPU)
    saved = TrainedModel(
        config=task(preparation).configuration.model,
        normalisation=last.score.normalisation,
        classes=("a", "b", "c"),
        weights=last.score.weights,
        preparation=preparation,
    )
    save_model(tmp_path, saved, {})
    loaded = load_model(tmp_path)
    assert loaded == saved
    # The validation images were prepared with all others, and so are these.
    probabilities = loaded.predict(images().pixels[SIDE])[16:]
    assert np.allclose(probabilities, last.score.probabilities, atol=0.02)


@pytest.mark.parametrize("field", ["stain", "background", "scale"])
def test_an_unknown_preparation_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} .*kept.*'blue'"):
        Preparation(**{field: "blue"})


def test_measured_features_need_images_as_they_are():
    training = TrainingConfig(epochs=1, lr=0.0)
    with pytest.raises(ValueError, match="preparation"):
        Configuration(model=Traditional(), training=training, preparation=Preparation(stain="white"))
