"""A head that is trained alone, on features that are computed once."""

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

import search.training.fit
from search.space import N_ORIENTATIONS, Augmentation, Configuration, TrainingConfig
from search.training import frozen
from search.training.batches import flips_and_quarter_turns
from search.training.checkpoint import Checkpoint
from search.training.device import Device
from search.training.folds import run_task
from search.training.frozen import frozen_features
from search.training.types import Images, Normalisation, Task
from wbcmodels.config import ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_IMAGES, N_CLASSES = 12, 30, 3
IMAGES = Images(
    pixels={SIDE: np.random.default_rng(0).integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)},
    labels=np.arange(N_IMAGES) % N_CLASSES,
    n_classes=N_CLASSES,
)
TRAIN, VAL = np.arange(29, 8, -1), np.arange(9)
NORMALISATION = Normalisation(mean=(120.0, 120.0, 120.0), std=(60.0, 60.0, 60.0))


def task(way="frozen", epochs=N_ORIENTATIONS + 2, dropout=0.5, **changes):
    return Task(
        configuration=Configuration(
            model=ModelConfig(placement="1", width=0.125, input_px=SIDE, dropout=dropout),
            training=TrainingConfig(epochs=epochs, lr=0.02, batch_size=8, **changes),
        ),
        train=TRAIN,
        val=VAL,
        seed=3,
        way=way,
        keep_weights=True,
    )


@pytest.fixture(scope="module")
def start():
    """Weights to start from."""
    torch.set_num_threads(1)
    *_, last = run_task(task("scratch", epochs=1), IMAGES, CPU)
    return last.score.weights


@pytest.fixture
def computed(monkeypatch):
    """What was computed once, by training."""
    found = []

    def noting(*given):
        found.append(frozen_features(*given))
        return found[-1]

    monkeypatch.setattr(search.training.fit, "frozen_features", noting)
    return found


class Own(nn.Module):
    """A network with what follows or precedes its head given."""

    head = "last"

    def __init__(self, before=None, after=None):
        super().__init__()
        self.before = before or nn.Identity()
        self.last = nn.Linear(3, N_CLASSES)
        self.after = after or nn.Identity()

    def forward(self, images_NCHW):
        return self.after(self.last(self.before(images_NCHW.mean((2, 3)))))


def features_of(model, indices=TRAIN):
    pixels = torch.from_numpy(IMAGES.pixels[SIDE])
    return frozen_features(model, pixels, torch.from_numpy(indices.copy()), NORMALISATION, CPU)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_training_is_the_same_with_features_that_are_computed_once(start, computed, monkeypatch, dropout):
    once = list(run_task(task(dropout=dropout), IMAGES, CPU, start))
    assert len(computed) == 1
    assert computed[0] is not None
    monkeypatch.setattr(search.training.fit, "frozen_features", lambda *_: None)
    again = list(run_task(task(dropout=dropout), IMAGES, CPU, start))
    for a, b in zip(once, again, strict=True):
        assert a.epoch.training.train_loss == pytest.approx(b.epoch.training.train_loss, rel=1e-4)
    assert np.allclose(once[-1].score.probabilities, again[-1].score.probabilities, atol=1e-4)
    a, b = (load(steps[-1].score.weights) for steps in (once, again))
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)


def test_it_resumes_as_if_unbroken(start):
    steps = list(run_task(task(), IMAGES, CPU, start))
    checkpoint = Checkpoint.from_bytes(steps[3].checkpoint)
    rest = list(run_task(task(), IMAGES, CPU, start, checkpoint))
    losses = [[step.epoch.training.train_loss for step in some] for some in (steps[4:], rest)]
    assert losses[0] == losses[1]
    a, b = (load(some[-1].score.weights) for some in (steps, rest))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "one",
    [
        task(epochs=N_ORIENTATIONS),
        task(augmentation=Augmentation(brightness=0.2)),
        task(ema_decay=0.9),
        task("fine_tuned"),
    ],
    ids=["few epochs", "augmented", "averaged", "all is trained"],
)
def test_features_are_not_computed_where_that_takes_longer_or_is_not_the_same(start, computed, one):
    list(run_task(one, IMAGES, CPU, start))
    assert not computed


def test_the_features_are_those_of_each_image_in_each_orientation():
    model = Own(nn.Linear(3, 3))
    found = features_of(model)
    assert found.values.shape == (len(TRAIN), N_ORIENTATIONS, 3)
    assert torch.allclose(found.values[:, 0], found.values[:, 5], atol=1e-5)  # a mean has no orientation
    batches = (torch.tensor([29, 9]), torch.tensor([11]))
    (_, drawn), (batch, single) = found.drawn(batches, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 3)
    assert batch.tolist() == [11]
    assert torch.allclose(single[0], found.values[TRAIN.tolist().index(11), 0], atol=1e-5)


def test_the_orientations_are_those_of_a_training_on_images():
    pixels = torch.from_numpy(IMAGES.pixels[SIDE])

    class Corner(Own):
        def forward(self, images_NCHW):
            return self.last(images_NCHW[:, :, 0, 0])

    found = features_of(Corner())
    batch = torch.from_numpy(TRAIN.copy())
    ((_, drawn),) = found.drawn((batch,), torch.Generator().manual_seed(7))
    turned = flips_and_quarter_turns(pixels[batch], torch.Generator().manual_seed(7))
    assert torch.allclose(drawn, (turned[:, 0, 0] - 120.0) / 60.0, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        Own(nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3), nn.Dropout(0.5))),
        Own(nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3))),
        Own(after=nn.Softmax(dim=1)),
        Own(after=nn.Dropout(0.5)),
        nn.Sequential(nn.Flatten(2), nn.Linear(SIDE**2, N_CLASSES)),  # its head reads three vectors of each image
    ],
    ids=["two dropouts", "dropout further up", "after the head", "dropout after it", "no vectors"],
)
def test_a_network_that_head_and_dropout_do_not_complete_has_none(model):
    torch.manual_seed(0)
    assert features_of(model) is None


def test_dropout_before_the_head_is_drawn_anew(monkeypatch):
    model = Own(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)))
    found = features_of(model)
    assert isinstance(found.tail[0], nn.Dropout)
    monkeypatch.setattr(frozen, "MOST_BYTES", found.values.nbytes - 1)
    assert features_of(model) is None
