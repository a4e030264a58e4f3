"""What are the best settings of the paper's WBCsNet-2, whose residual block stands at the first stage?

    python -m search.run --space wbcsnet2

One level, so all trials are rivals; the comparison sets the best of them beside the paper's two networks at the
paper's settings.
"""

from search.space import Configuration, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import ModelConfig


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """WBCsNet-2 with whatever the suggester chooses; a norm other than batch takes it further from the paper."""
    return Configuration(
        model=ModelConfig(
            placement="1",
            norm=suggest.suggest_categorical("norm", ("batch", "group")),
            dropout=suggest.suggest_float("dropout", 0.0, 0.6),
            input_px=suggest.suggest_categorical("input_px", profile.input_px),
            width=profile.width,
            shortcut=suggest.suggest_categorical("shortcut", ("identity", "projection")),
            residual_relu=suggest.suggest_categorical("residual_relu", ("after", "before")),
        ),
        training=TrainingConfig(
            epochs=profile.epochs,
            lr=suggest.suggest_float("lr", *profile.lr, log=True),
            class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
        ),
    )


SPACE = Space(question="What are the best settings of the paper's WBCsNet-2?", configure=configure)
