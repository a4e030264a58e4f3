"""What augmentation costs: processor time of all augmentations together as a share of a training step.

    python -m benchmarks.augment

Each round times the steps of a few batches, and the same batches' flips, augmentation and normalisation with
strengths above 0 and with none, one after another in one process of one thread. The share is taken within each
round, so that other work that slows the machine down slows all three.
"""

import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.space import Augmentation, TrainingConfig
from search.training.batches import prepared
from search.training.device import prepare_worker
from search.training.fit import on_device
from search.training.optimizers import make_optimizer
from search.training.speed import NORMALISATION
from search.training.step import training_step
from wbcmodels.config import ModelConfig

STRENGTHS: dict[str, Any] = {
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.03,
    "hed": 0.1,
    "stain": 0.5,
    "blur_px": 1.0,
    "zoom": 0.25,
    "rotation_deg": 30.0,
}
N_BATCHES, BATCH_SIZE, N_CLASSES = 12, 32, 5

app = make_app("benchmarks.augment")


@app.default
def main(
    *,
    rounds: Annotated[int, Parameter(validator=Number(gte=2))] = 20,
    side: Annotated[int, Parameter(validator=Number(gte=4))] = 40,
    width: Annotated[float, Parameter(validator=Number(gte=0.01))] = 0.25,
) -> None:
    """Measure the share of each augmentation, and of all together.

    Args:
        rounds: Number of repeats.
        side: Input side in px.
        width: Width of the network.
    """
    console = make_console()
    console.print(f"{rounds} rounds of {N_BATCHES} batches of {BATCH_SIZE}; {side} px, width {width:g}")
    table = Table(title="Share of a training step, %; median and quartiles of the rounds", title_justify="left")
    for column in ("augmentation", "median", "quartiles"):
        table.add_column(column, justify="left" if column == "augmentation" else "right")
    for name, found in shares(rounds, side, width).items():
        low, median, high = 100 * np.percentile(found, (25, 50, 75))
        table.add_row(name, f"{median:.1f}", f"{low:.1f} to {high:.1f}")
    console.print(table)


def shares(rounds: int, side_px: int, width: float) -> dict[str, list[float]]:
    """Extra time of each augmentation and of all, as a share of a step, in every round."""
    device = prepare_worker(1, gpu_share=0)
    config = TrainingConfig(epochs=1, lr=1e-6, batch_size=BATCH_SIZE)
    model = on_device(
        ModelConfig(placement="1", width=width, input_px=side_px).build(N_CLASSES, 0), device
    ).train()
    step = training_step(model, make_optimizer(model, config), torch.nn.functional.cross_entropy, device, config)
    step.begin(1)
    n_images = N_BATCHES * BATCH_SIZE
    images = torch.randint(256, (n_images, side_px, side_px, 3), dtype=torch.uint8)
    labels, batches = torch.arange(n_images) % N_CLASSES, torch.arange(n_images).split(BATCH_SIZE)
    generator = torch.Generator().manual_seed(0)

    def batches_with(augmentation: Augmentation) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(prepared(images, batches, NORMALISATION, generator, device, augmentation))

    ready = batches_with(Augmentation())

    def train() -> None:
        for batch, pixels in ready:
            step(pixels, labels[batch], config.lr)

    assert set(STRENGTHS) == {field.name for field in fields(Augmentation)} - {"styles"}
    cases = {name: Augmentation(**{name: value}) for name, value in STRENGTHS.items()}
    cases["all"] = Augmentation(**STRENGTHS)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        step_s, plain_s = timed(train), timed(partial(batches_with, Augmentation()))
        for name, augmentation in cases.items():
            extra_s = timed(partial(batches_with, augmentation)) - plain_s
            if number:  # the first round warms up
                found[name].append(extra_s / step_s)
    return found


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time that a piece of work takes in this thread."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


if __name__ == "__main__":
    run_app(app)
