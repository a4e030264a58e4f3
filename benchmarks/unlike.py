"""How many images are marked as unlike the training: of its own laboratory, of others, and drawn ones?

    python -m benchmarks.unlike A B C synthetic --epochs 5 --seeds 2

Trains WBCsNet without a block, of quarter width, on four fifths of the first data set, and counts the marked
images among the last fifth and in every other data set.
"""

from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.data.reading import Reading, parse_class_names
from search.data.sources import open_source
from search.data.splits import stratified_folds
from search.space import Configuration, TrainingConfig
from search.training.device import prepare_worker
from search.training.folds import run_task
from search.training.trainedmodel import TrainedModel
from search.training.types import Images, Task
from wbcmodels.config import ModelConfig

app = make_app("benchmarks.unlike")
PARTS = 5


@app.default
def main(
    data: Annotated[list[str], Parameter(name="DATA")],
    /,
    *,
    class_names: str | None = None,
    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    side: Annotated[int, Parameter(validator=Number(gte=4))] = 28,
) -> None:
    """Print the images that are marked.

    Args:
        data: Data sets, as --data of a study; the first is trained on.
        class_names: Class names by label where labels are numbers, such as 1=neutrophil,2=lymphocyte.
        epochs: Epochs of a training.
        seeds: Trainings, each on another four fifths.
        side: Side of the images in px.
    """
    reading = Reading(class_names=None if class_names is None else parse_class_names(class_names))
    device, console = prepare_worker(1, gpu_share=0), make_console()
    sets = []
    for name in data:
        source = open_source(name, microscope="first", seed=0, reading=reading)
        sets.append(source.decode([side], skip_bad=True))
    own, *others = sets
    model = ModelConfig(placement="none", width=0.25, input_px=side, norm="batch", dropout=0.2)
    training = TrainingConfig(epochs=epochs, lr=0.006, class_weighting="balanced")
    table = Table("seed", f"left out of {own.source}", *(other.source for other in others), box=None)
    for seed in range(seeds):
        everything = np.arange(len(own.labels))
        split = stratified_folds(own.labels, own.groups, n_folds=PARTS, seed=seed, among=everything)[0]
        task = Task(
            configuration=Configuration(model=model, training=training),
            train=split.train,
            val=split.val,
            seed=seed,
            validate_once=True,
            keep_weights=True,
        )
        images = Images(pixels=own.pixels, labels=own.labels, n_classes=len(own.classes))
        *_, last = run_task(task, images, device)
        assert last.score is not None  # it is the last epoch
        assert last.score.weights is not None  # the task keeps them
        trained = TrainedModel(
            config=model,
            normalisation=last.score.normalisation,
            classes=own.classes,
            weights=last.score.weights,
            typical=last.score.typical,
        )
        shown = [own.pixels[side][split.val], *(other.pixels[side] for other in others)]
        marked = [trained.judge(pixels)[1] for pixels in shown]
        counts = [
            "unknown" if each is None else f"{each.sum()} of {len(each)} ({each.mean():.1%})" for each in marked
        ]
        table.add_row(str(seed), *counts)
    console.print(table)


if __name__ == "__main__":
    run_app(app)
