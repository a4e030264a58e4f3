from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import save as save_weights

from search.shift.laboratories import open_laboratories, pool
from search.shift.network import TrainedKind, from_study
from search.shift.trainings import plan_trainings
from search.space import QUICK_PROFILES, Augmentation, Configuration, Preparation, StainStyle, TrainingConfig
from search.training.prepare import prepare
from search.training.trainedmodel import TrainedModel, save_model
from search.training.types import Normalisation
from wbcmodels.config import ModelConfig

KIND = TrainedKind(
    name="tiny",
    configuration=Configuration(
        model=ModelConfig(placement="1", input_px=12, width=0.125), training=TrainingConfig(epochs=2, lr=0.01)
    ),
    most_epochs=5,
)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "grouped"])
def images(request, cells, others):
    # Images whose numbers end in the same digit are one group, whatever their classes.
    groups = {cells.name: r"/\d\d(\d)"} if request.param else {}
    return pool(open_laboratories([cells, others], {}, groups), 12, skip_bad=False)


def test_no_network_is_tested_on_what_it_is_trained_on(images):
    for training in plan_trainings(images, KIND, n_seeds=3, n_folds=3):
        task = training.task
        own = next(each for each in images.laboratories if each.name == training.laboratory)
        assert np.isin(task.train, own.images).all()
        assert not np.intersect1d(task.train, task.val).size
        assert not np.intersect1d(images.groups[task.train], images.groups[task.val]).size
        assert np.isin(np.setdiff1d(np.arange(len(images.labels)), own.images), task.val).all()


def test_diagonal_tests_every_image_once_in_a_partition(images):
    trainings = plan_trainings(images, KIND, n_seeds=2, n_folds=3)
    for laboratory in images.laboratories:
        for seed in range(2):
            parts = [t.task.val for t in trainings if (t.laboratory, t.seed) == (laboratory.name, seed)]
            own = np.concatenate([np.intersect1d(part, laboratory.images) for part in parts])
            assert sorted(own) == laboratory.images.tolist()


def test_more_seeds_add_trainings_and_change_none(images):
    few, many = (plan_trainings(images, KIND, n_seeds=n, n_folds=3) for n in (1, 3))
    assert [each.name for each in many][: len(few)] == [each.name for each in few]
    assert len({each.task.seed for each in many}) == len(many) == 3 * len(few)
    for a, b in zip(few, many, strict=False):
        assert np.array_equal(a.task.train, b.task.train)
        assert a.task.seed == b.task.seed


def test_small_laboratories_take_as_many_steps_up_to_a_limit():
    epochs = [KIND.for_laboratory(n, 1000).training.epochs for n in (1000, 500, 400, 10)]
    assert epochs == [2, 4, 5, 5]


def test_each_laboratory_is_prepared_by_itself(cells, others):
    preparation = Preparation(stain="reinhard")
    kind = replace(KIND, configuration=replace(KIND.configuration, preparation=preparation))
    sources = open_laboratories([cells, others], {}, {})
    images = pool(sources, 12, preparation, skip_bad=False)
    for laboratory, source in zip(images.laboratories, sources, strict=True):
        alone = prepare(source.decode([12]).pixels[12], preparation)
        np.testing.assert_array_equal(images.pixels[laboratory.images], alone)
    # What is prepared is not prepared again.
    assert {each.task.configuration.preparation for each in plan_trainings(images, kind, 1, 2)} == {Preparation()}


def test_a_winner_is_trained_with_its_augmentation_and_preparation(tmp_path, monkeypatch):
    augmentation = Augmentation(stain=0.5, styles=(StainStyle(mean=(1, 2, 3), std=(4, 5, 6)),))
    training = TrainingConfig(epochs=3, lr=0.01, augmentation=augmentation)
    model = TrainedModel(
        config=KIND.configuration.model,
        normalisation=Normalisation(mean=(1, 2, 3), std=(4, 5, 6)),
        classes=("a", "b"),
        weights=save_weights(KIND.configuration.model.build(2, 0).state_dict()),
        preparation=Preparation(background="white"),
    )
    save_model(tmp_path / "model", model, {"level": "1", "training": asdict(training)})
    results = SimpleNamespace(description=SimpleNamespace(plan=SimpleNamespace(profile=QUICK_PROFILES[0])))
    monkeypatch.setattr("search.shift.network.read_results", lambda folder: results)
    found = from_study(tmp_path).configuration
    assert found.training == training
    assert found.preparation == model.preparation
