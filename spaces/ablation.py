"""Which of the paper's three changes does what: the residual block, batch normalisation, dropout?

    python -m search.run --space ablation

Eight levels, each change on or off, each tuned for itself over learning rate, input size and class weighting;
where dropout is on, its rate is tuned too. `none` is the paper's plain network, and all three together are its
WBCsNet-2.
"""

from itertools import product

from search.space import Configuration, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import ModelConfig

CHANGES = ("residual", "norm", "dropout")
LEVELS = tuple(
    "+".join(change for change, on in zip(CHANGES, switches, strict=True) if on) or "none"
    for switches in product((False, True), repeat=len(CHANGES))
)


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """One combination of the changes with whatever the suggester chooses for the rest."""
    changes = level.split("+")
    training = TrainingConfig(
        epochs=profile.epochs,
        lr=suggest.suggest_float("lr", *profile.lr, log=True),
        class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
    )
    input_px = suggest.suggest_categorical("input_px", profile.input_px)
    # Asked for last, so that the random start of all levels agrees in what they share.
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
    question="Which of the paper's three changes does what?",
    factor="changes",
    levels=LEVELS,
    reference="none",
    configure=configure,
)
