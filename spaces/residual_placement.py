"""Where does a residual block belong: at the first, second or third stage, at several of them, or nowhere?

    python -m search.run --space residual_placement

Settings of norm, dropout, learning rate, input side and class weighting are tried at every placement, and all
placements are compared at the best of these.

Result at quarter width, 24 or 28 px and 8 epochs of SGD (2172 cells of PBC, four runs of ten folds at two of
twelve settings, seed 0, n = 1 study of 107 minutes on two cores): a block at any one stage changes accuracy and
the Brier score by less than a point. By balanced accuracy, which depends on 24 basophils, everything is open. So
the cheapest placement, none, is recommended.
"""

from search.space import (
    PAPER_PROFILE,
    QUICK_ADAMW_PROFILES,
    Configuration,
    Params,
    Profile,
    Space,
    Suggester,
    TrainingConfig,
    effects_of_parts,
)
from wbcmodels.config import PLACEMENTS, ModelConfig


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """Combine the placement with parameters that the suggester chooses."""
    return Configuration(
        model=ModelConfig(
            placement=level,
            norm=suggest.suggest_categorical("norm", ("batch", "group", "none")),
            dropout=suggest.suggest_float("dropout", 0.0, 0.6),
            input_px=suggest.suggest_categorical("input_px", profile.input_px),
            width=profile.width,
        ),
        training=TrainingConfig(
            epochs=profile.epochs,
            lr=suggest.suggest_float("lr", *profile.lr, log=True),
            optimizer=profile.optimizer,
            batch_size=profile.batch_size,
            class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
        ),
    )


def first_points(level: str, profile: Profile) -> tuple[Params, ...]:
    """The first trials of every level: the settings of the paper's WBCsNet-2, or two that suit few epochs."""
    low, high = (0.001, 0.0015) if profile.optimizer == "adamw" else (0.015, 0.02)
    common = {"norm": "batch", "input_px": profile.input_px[-1]}
    if profile is PAPER_PROFILE:
        return ({**common, "dropout": 0.5, "lr": 0.001, "class_weighting": "none"},)
    return (
        {**common, "dropout": 0.2, "lr": low, "class_weighting": "balanced"},
        {**common, "dropout": 0.2, "lr": high, "class_weighting": "none"},
    )


SPACE = Space(
    question="Which placement of the residual block is best?",
    factor="placement",
    levels=PLACEMENTS,
    reference="none",
    effects=effects_of_parts(PLACEMENTS, {stage: f"block at stage {stage}" for stage in "123"}),
    configure=configure,
    quick=QUICK_ADAMW_PROFILES,
    first_points=first_points,
)
