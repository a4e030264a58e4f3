"""Spaces: the configurations that a study may try, and the factor that it compares.

A space is a Python file that defines `SPACE = Space(...)`. Of this program it imports only this module and
configurations of `wbcmodels`; it may define a network of its own, see `wbcmodels.network.NetworkConfig`:

    from search.space import Configuration, Space, TrainingConfig
    from wbcmodels.config import ModelConfig

    def configure(suggest, level, profile):
        return Configuration(
            model=ModelConfig(
                placement=level,
                dropout=suggest.suggest_float("dropout", 0.0, 0.6),
                input_px=suggest.suggest_categorical("input_px", profile.input_px),
                width=profile.width,
            ),
            training=TrainingConfig(
                epochs=profile.epochs,
                lr=suggest.suggest_float("lr", *profile.lr, log=True),
            ),
        )

    SPACE = Space(
        question="Does a residual block at the first stage help?",
        factor="placement",
        levels=("none", "1"),
        reference="none",
        configure=configure,
    )

`spaces/` holds complete ones; `python -m search.run --space FILE.py` runs a study of your own.
"""

from search.space.configuration import (
    OPTIMIZER_NAMES,
    ClassWeighting,
    Configuration,
    OptimizerName,
    Schedule,
    Trained,
    TrainingConfig,
)
from search.space.images import N_ORIENTATIONS, Augmentation, Background, Preparation, Scale, Stain, StainStyle
from search.space.profile import PAPER_PROFILE, QUICK_ADAMW_PROFILES, QUICK_PROFILES, Profile
from search.space.space import CONTROL_LEVEL, PAPER_LEVELS, Effect, Space, effects_of_parts, sample
from search.space.suggest import FixedSuggester, Params, RandomSuggester, Suggester

__all__ = [
    "CONTROL_LEVEL",
    "N_ORIENTATIONS",
    "OPTIMIZER_NAMES",
    "PAPER_LEVELS",
    "PAPER_PROFILE",
    "QUICK_ADAMW_PROFILES",
    "QUICK_PROFILES",
    "Augmentation",
    "Background",
    "ClassWeighting",
    "Configuration",
    "Effect",
    "FixedSuggester",
    "OptimizerName",
    "Params",
    "Preparation",
    "Profile",
    "RandomSuggester",
    "Scale",
    "Schedule",
    "Space",
    "Stain",
    "StainStyle",
    "Suggester",
    "Trained",
    "TrainingConfig",
    "effects_of_parts",
    "sample",
]
