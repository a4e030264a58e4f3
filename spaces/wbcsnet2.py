"""What are the best settings of the paper's WBCsNet-2, which has its residual block at the first stage?

    python -m search.run --space wbcsnet2

There is one level, so all trials compete. The comparison shows the best next to the paper's two networks at the
paper's settings. `results/` holds no study of this space yet.
"""

from search.space import QUICK_ADAMW_PROFILES, Configuration, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import ModelConfig


def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
    """Combine WBCsNet-2 with parameters that the suggester chooses; group norm is not in the paper."""
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
            optimizer=profile.optimizer,
            batch_size=profile.batch_size,
            class_weighting=suggest.suggest_categorical("class_weighting", ("none", "balanced")),
        ),
    )


SPACE = Space(
    question="What are the best settings of the paper's WBCsNet-2?",
    configure=configure,
    quick=QUICK_ADAMW_PROFILES,
)
