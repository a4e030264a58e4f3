"""What makes a WBCsNet-2 hold on another laboratory's slides: norms, augmentation, or prepared images?

    python -m search.run --space shift --data FOLDER --transfer-data FOLDER
    python -m benchmarks.shift --train A --choose B,C --test D

The first command asks what each level costs or gains within the laboratory that it trains on. The second trains
all levels at the first point below, chooses on two further laboratories, and scores the choice on a fourth. With
PBC, BCCD, JTSC and LISC (40 px, 12 epochs, n = 5 seeds, four of the levels), the choice is `all` with adapted
norms, with an accuracy of 0.60 on LISC; untouched, `all` has 0.63 and `plain` 0.37. `docs/shift.md` holds the
tables.
"""

from dataclasses import dataclass
from typing import Any

from search.space import (
    Augmentation,
    Configuration,
    Params,
    Preparation,
    Profile,
    Space,
    Suggester,
    TrainingConfig,
)
from wbcmodels.config import ModelConfig
from wbcmodels.stages import Norm

GEOMETRY: dict[str, Any] = {"zoom": 0.25, "rotation_deg": 30.0, "blur_px": 1.0}
LIGHT: dict[str, Any] = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.03, "hed": 0.05}
ONE_STAIN = Preparation(stain="reinhard")
ONE_LOOK = Preparation(stain="reinhard", background="white", scale="nucleus")


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What a level changes; by default nothing."""

    norm: Norm = "batch"
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 - it is frozen
    preparation: Preparation = Preparation()  # noqa: RUF009


SHIFTS = {
    "plain": Shift(),
    "instance_norm": Shift(norm="instance"),
    "colour": Shift(augmentation=Augmentation(**LIGHT)),
    "random_stains": Shift(augmentation=Augmentation(stain=0.5)),
    "geometry": Shift(augmentation=Augmentation(**GEOMETRY)),
    "one_stain": Shift(preparation=ONE_STAIN),
    "white_background": Shift(preparation=Preparation(background="white")),
    "one_scale": Shift(preparation=Preparation(scale="nucleus")),
    "one_look": Shift(preparation=ONE_LOOK),
    "all": Shift(preparation=ONE_LOOK, augmentation=Augmentation(**GEOMETRY, **LIGHT)),
    "all_instance_norm": Shift(
        norm="instance", preparation=ONE_LOOK, augmentation=Augmentation(**GEOMETRY, **LIGHT)
    ),
}


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """Combine the level with parameters that the suggester chooses."""
    shift = SHIFTS[level]
    return Configuration(
        model=ModelConfig(
            placement="1",
            norm=shift.norm,
            dropout=suggest.suggest_float("dropout", 0.0, 0.6),
            input_px=suggest.suggest_categorical("input_px", profile.input_px),
            width=profile.width,
        ),
        training=TrainingConfig(
            epochs=profile.epochs,
            lr=suggest.suggest_float("lr", *profile.lr, log=True),
            class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
            augmentation=shift.augmentation,
        ),
        preparation=shift.preparation,
    )


def first_points(level: str, profile: Profile) -> tuple[Params, ...]:
    """The first trials of every level: settings of the middle of the range, with classes weighted and not."""
    lr = max(profile.lr[0], min(0.01, profile.lr[1]))
    common = {"dropout": 0.5, "input_px": profile.input_px[-1], "lr": lr}
    return tuple({**common, "class_weighting": weighting} for weighting in ("balanced", "none"))


SPACE = Space(
    question="What makes a WBCsNet-2 hold on another laboratory's slides?",
    factor="shift",
    levels=tuple(SHIFTS),
    reference="plain",
    configure=configure,
    first_points=first_points,
)
