"""Points of a workload as a space of the project."""

from dataclasses import asdict
from pathlib import Path

from benchmarks.patterns.workload import HIGHEST_DROPOUT, HIGHEST_LR, LOWEST_LR, load_workload
from search.space import Configuration, Profile, Space, Suggester, TrainingConfig
from wbcmodels.config import ModelConfig

# Written into the workload's folder.
SPACE_FILE = """
from pathlib import Path
from benchmarks.patterns.points import space_of
SPACE = space_of(Path(__file__).parent)
"""


def space_of(folder: Path) -> Space:
    """Space of one level that starts with the points of the workload."""
    workload = load_workload(folder)
    profile = Profile(
        width=workload.width,
        epochs=workload.epochs,
        transfer_epochs=workload.epochs,
        input_px=(workload.side,),
        lr=(LOWEST_LR, HIGHEST_LR),
        trials_per_level=len(workload.points),
        search_folds=2,
    )

    def configure(suggest: Suggester, level: str, profile: Profile) -> Configuration:
        model = ModelConfig(
            placement=workload.placement,
            dropout=suggest.suggest_float("dropout", 0.0, HIGHEST_DROPOUT),
            input_px=workload.side,
            width=workload.width,
        )
        lr = suggest.suggest_float("lr", LOWEST_LR, HIGHEST_LR, log=True)
        training = TrainingConfig(epochs=workload.epochs, lr=lr, batch_size=workload.batch_size)
        return Configuration(model=model, training=training)

    return Space(
        question="How fast?",
        configure=configure,
        paper=profile,
        quick=(profile,),
        first_points=lambda level, profile: tuple(map(asdict, workload.points)),
    )
