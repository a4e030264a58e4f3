import math

import pytest

from search.space import TrainingConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", value) for value in (0, 2.0)),
        ("batch_size", 0),
        *(("lr", value) for value in (-0.1, math.inf, math.nan)),
        ("weight_decay", -1e-4),
        ("optimizer", "adam"),
        ("schedule", "linear"),
        ("class_weighting", "sqrt"),
        ("trained", "tail"),
        *((name, value) for name in ("momentum", "label_smoothing", "ema_decay") for value in (-0.1, 1.0)),
        *(("clip_norm", value) for value in (0.0, -1.0, math.inf)),
    ],
)
def test_a_wrong_value_of_a_training_is_refused_by_field_and_value(name, value):
    with pytest.raises(ValueError, match=name) as caught:
        TrainingConfig(**{"epochs": 1, "lr": 0.1} | {name: value})
    assert str(value) in str(caught.value)
