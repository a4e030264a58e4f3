"""Where does a residual block belong: at the first, second or third stage, at several, or nowhere?

    python -m search.run --space residual_placement

Every placement is searched for itself over norm, dropout, learning rate, input size and class weighting, so
that each is compared at its best.
"""

from search.space import Configuration, Params, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import PLACEMENTS, ModelConfig

QUICK_LR = (0.002, 0.03)


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
    """What every level tries first: the settings of the paper's WBCsNet-2, or what suits few epochs."""
    common = {"norm": "batch", "input_px": profile.input_px[-1], "class_weighting": "none"}
    if profile is PAPER:
        return ({**common, "dropout": 0.5, "lr": 0.001},)
    return ({**common, "dropout": 0.2, "lr": 0.02},)


PAPER = Profile(
    width=1.0, epochs=40, input_px=(48, 56, 64, 70), lr=(0.0003, 0.01), trials_per_level=8, search_folds=5
)
QUICK = (
    Profile(width=0.25, epochs=14, input_px=(32, 40), lr=QUICK_LR, trials_per_level=4, search_folds=3),
    Profile(width=0.25, epochs=12, input_px=(28, 32), lr=QUICK_LR, trials_per_level=4, search_folds=3),
    Profile(width=0.25, epochs=12, input_px=(24, 28), lr=QUICK_LR, trials_per_level=3, search_folds=3),
    Profile(width=0.25, epochs=8, input_px=(24, 28), lr=QUICK_LR, trials_per_level=3, search_folds=3),
    Profile(width=0.25, epochs=6, input_px=(24, 28), lr=QUICK_LR, trials_per_level=2, search_folds=3),
    Profile(width=0.125, epochs=4, input_px=(24,), lr=QUICK_LR, trials_per_level=2, search_folds=3),
)

SPACE = Space(
    question="Which placement of the residual block is best, each at its best settings?",
    factor="placement",
    levels=PLACEMENTS,
    reference="none",
    configure=configure,
    first_points=first_points,
    paper=PAPER,
    quick=QUICK,
)
