"""Grid of twelve settings at every placement, each trained in full, recorded once to be replayed.

    python -m search.run --space benchmarks/grid_space.py --data CELLS --profile quick \
        --trials 96 --search-folds 5 --pruner none

All of them are first points, so no sampler is involved. Norm, class weighting and learning rate form a full
grid, so samplers can be replayed on it as well. The half without a norm is far worse, as much of a real space
is.
"""

from itertools import product

from search.space import Configuration, Params, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import PLACEMENTS, ModelConfig

NORMS, WEIGHTINGS, RATES = ("batch", "none"), ("none", "balanced"), (0.005, 0.012, 0.03)
GRID: tuple[Params, ...] = tuple(
    {"norm": norm, "class_weighting": weighting, "lr": lr}
    for lr, weighting, norm in product(RATES, WEIGHTINGS, NORMS)
)
RECORDED = Profile(
    width=0.25,
    epochs=10,
    transfer_epochs=10,
    input_px=(24,),
    lr=(RATES[0], RATES[-1]),
    settings=len(GRID),
    trials_per_level=len(GRID),
    search_folds=5,
)


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """A point on the grid, or between its points."""
    return Configuration(
        model=ModelConfig(
            placement=level,
            norm=suggest.suggest_categorical("norm", NORMS),
            dropout=0.2,
            input_px=profile.input_px[0],
            width=profile.width,
        ),
        training=TrainingConfig(
            epochs=profile.epochs,
            lr=suggest.suggest_float("lr", *profile.lr, log=True),
            class_weighting=suggest.suggest_categorical("class_weighting", WEIGHTINGS),
        ),
    )


SPACE = Space(
    question="What do the configurations of a grid reach when each is trained in full?",
    factor="placement",
    levels=PLACEMENTS,
    reference="none",
    configure=configure,
    first_points=lambda level, profile: GRID,
    paper=RECORDED,
    quick=(RECORDED,),
)
