from dataclasses import replace

import numpy as np
import pytest
from plans import NAMES, SPACES

from search.space import sample
from search.training.cost import image_cost, training_cost


@pytest.mark.parametrize("seed", range(4))
def test_cost_is_positive_and_adds_up(seed):
    rng = np.random.default_rng(seed)
    space = SPACES[NAMES[seed % len(NAMES)]]
    configuration = sample(space, space.levels[0], space.quick[0], seed + 1)[-1]
    a, b, v, w = rng.integers(1, 10**4, 4)
    assert image_cost(configuration, 5) > 0
    whole = training_cost(configuration, 5, a + b, v + w)
    assert whole == pytest.approx(training_cost(configuration, 5, a, v) + training_cost(configuration, 5, b, w))
    assert training_cost(configuration, 5, a, v) > training_cost(configuration, 5, a, 0) > 0
    twice = replace(configuration, training=replace(configuration.training, epochs=2 * space.quick[0].epochs))
    assert training_cost(twice, 5, a, v) == pytest.approx(2 * training_cost(configuration, 5, a, v))
