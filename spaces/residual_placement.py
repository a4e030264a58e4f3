"""Where does a residual block belong: at the first, second or third stage, at several, or nowhere?

    python -m search.run --space residual_placement

Every placement is searched for itself over norm, dropout, learning rate, input size and class weighting, so
that each is compared at its best.

Seen with `--profile quick` on two cores, n = 1 run each, seed 0, 2172 cells of PBC, transferred to 255 of LISC:
of 12 epochs (38 minutes) 2+3 was best, of 8 epochs (`--trials 32`, on slower cores) 1+2; nothing was settled.
"""

from search.space import PAPER_PROFILE, Configuration, Params, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import PLACEMENTS, ModelConfig


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """One placement with whatever the suggester chooses for the rest."""
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
            class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
        ),
    )


def first_points(level: str, profile: Profile) -> tuple[Params, ...]:
    """What every level tries first: the settings of the paper's WBCsNet-2, or two that suit few epochs."""
    common = {"norm": "batch", "input_px": profile.input_px[-1]}
    if profile is PAPER_PROFILE:
        return ({**common, "dropout": 0.5, "lr": 0.001, "class_weighting": "none"},)
    return (
        {**common, "dropout": 0.2, "lr": 0.015, "class_weighting": "balanced"},
        {**common, "dropout": 0.2, "lr": 0.02, "class_weighting": "none"},
    )


SPACE = Space(
    question="Which placement of the residual block is best, each at its best settings?",
    factor="placement",
    levels=PLACEMENTS,
    reference="none",
    configure=configure,
    first_points=first_points,
)
