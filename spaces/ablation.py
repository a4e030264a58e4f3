"""What does each of the paper's three changes do: the residual block, batch normalisation, dropout?

    python -m search.run --space ablation

Eight levels, one per combination of the changes. Settings of learning rate, input side, class weighting and, for
levels with dropout, the dropout rate are tried at every level. `none` is the paper's plain network, and all three
changes together are its WBCsNet-2. `results/` holds no study of this space yet.
"""

from itertools import product

from search.space import (
    QUICK_ADAMW_PROFILES,
    Configuration,
    Profile,
    Space,
    Suggester,
    TrainingConfig,
    effects_of_parts,
)
from wbcmodels.config import ModelConfig

CHANGES = ("residual", "norm", "dropout")
LEVELS = tuple(
    "+".join(change for change, on in zip(CHANGES, switches, strict=True) if on) or "none"
    for switches in product((False, True), repeat=len(CHANGES))
)


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """Combine the level's changes with parameters that the suggester chooses."""
    changes = level.split("+")
    training = TrainingConfig(
        epochs=profile.epochs,
        lr=suggest.suggest_float("lr", *profile.lr, log=True),
        optimizer=profile.optimizer,
        batch_size=profile.batch_size,
        class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
    )
    input_px = suggest.suggest_categorical("input_px", profile.input_px)
    dropout = suggest.suggest_float("dropout", 0.1, 0.6) if "dropout" in changes else 0.0
    return Configuration(
        model=ModelConfig(
            placement="1" if "residual" in changes else "none",
            norm="batch" if "norm" in changes else "none",
            dropout=dropout,
            input_px=input_px,
            width=profile.width,
        ),
        training=training,
    )


SPACE = Space(
    question="What does each of the paper's three changes do?",
    factor="changes",
    levels=LEVELS,
    reference="none",
    effects=effects_of_parts(LEVELS, {change: change for change in CHANGES}),
    configure=configure,
    quick=QUICK_ADAMW_PROFILES,
)
