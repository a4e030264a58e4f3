"""Training rates on one GPU, on images drawn at random; needs no Ray.

    python -m benchmarks.gpu                        the paper's study: 8 placements, 2172 images of 70 x 70 px
    python -m benchmarks.gpu --smallest             a short run to see that it works, also on a CPU

For one placement it measures the training function of Ray Tune's tutorial (called without Ray); this project's
step as plain calls and as the CUDA graph that is used on a GPU; several trainings side by side, each in a
process of its own; and the folds of a cross-validation stacked into one network with a leading dimension
(torch.func.vmap). It then measures every placement and projects the time of the whole placement study (8
placements x 10 folds x 40 epochs) with the best number of trainings side by side. Use is the operations of the
training, three times a forward pass, relative to what the card reaches in a plain bfloat16 matrix product.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from benchmarks.gpu_measures import (
    N_CLASSES,
    Shape,
    matrix_flops,
    memory_mb,
    plain_step_rate,
    side_by_side_rate,
    stacked_rate,
    training_rates,
    tutorial_rate,
)
from search.common.commandline import make_app, run_app
from search.common.console import duration, make_console
from search.training.device import prepare_worker
from wbcmodels.config import PLACEMENTS, ModelConfig
from wbcmodels.network import model_size

FOLDS, EPOCHS = 10, 40
SIDE_BY_SIDE, STACKED = (1, 2, 4, 8), (1, 5, 10)

app = make_app("benchmarks.gpu")


@app.default
def main(
    placement: Annotated[str, Parameter(help="Placement for which the ways are compared.")] = "1",
    images: Annotated[int, Parameter(validator=Number(gte=20), help="Number of images of a study.")] = 2172,
    side: Annotated[int, Parameter(validator=Number(gte=8), help="Input side in px.")] = 70,
    width: Annotated[float, Parameter(help="Width of the networks.")] = 1.0,
    output: Annotated[Path | None, Parameter(help="Parquet file to write, one row per measurement.")] = None,
    smallest: Annotated[bool, Parameter(help="Run at tiny sizes, to see that it works.")] = False,
) -> None:
    """Measure ways to train on one GPU and project the time of the placement study."""
    side_by_side, stacked = list(SIDE_BY_SIDE), list(STACKED)
    if smallest:
        images, side, width, side_by_side, stacked = 40, 12, 0.125, [2], [2]
    device, console = prepare_worker(1, gpu_share=1.0), make_console()
    on_gpu = device.device.type == "cuda"
    card = torch.cuda.get_device_name() if on_gpu else "no GPU: on the CPU"
    console.print(f"{card}; torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}")
    shape = Shape(placement=placement, side=side, width=width, n_images=images)
    peak = matrix_flops(device, 8192 if on_gpu else 512)
    rows: list[dict[str, object]] = []

    def add(way: str, rate: float, placement: str = placement, **more: float) -> None:
        network = ModelConfig(placement=placement, input_px=side, width=width)
        flops = 6 * model_size(network, n_classes=N_CLASSES).macs * rate
        rows.append({"way": way, "placement": placement, "images_per_s": rate, "use": flops / peak, **more})

    add("tutorial", tutorial_rate(shape, device))
    add("plain step", plain_step_rate(shape, device))
    shapes = {name: replace(shape, placement=name) for name in PLACEMENTS}
    rates = {name: training_rates(each, device) for name, each in shapes.items()}
    for name, (training, validation) in rates.items():
        more = {"validated_per_s": validation, "memory_mb": memory_mb(shapes[name], device)}
        add("training", training, placement=name, **more)
    for n in side_by_side:
        add("side by side", side_by_side_rate(shape, n), n=n)
    for n in stacked:
        add("stacked", stacked_rate(shape, device, n), n=n)

    frame = pd.DataFrame(rows)
    together = frame[frame["way"] == "side by side"]
    gain = together["images_per_s"].max() / together["images_per_s"].iloc[0]
    alone_s = sum(
        FOLDS * EPOCHS * images * (0.9 / training + 0.1 / validation) for training, validation in rates.values()
    )
    frame = frame.assign(device=card, torch=torch.__version__, date=datetime.now(UTC), peak_flops=peak)
    frame = frame.assign(images=images, side_px=side, width=width, study_s=alone_s / gain)
    if output is not None:
        frame.to_parquet(output, index=False)
    title = f"{images} images of {side} px, width {width:g}, batches of {shape.batch_size}, n = 1"
    table = Table(title=title, title_justify="left")
    for column in ("way", "placement", "n", "images/s", "use, %"):
        table.add_column(column, justify="left" if column in ("way", "placement") else "right")
    for row in frame.to_dict("records"):
        count = "" if pd.isna(row["n"]) else f"{row['n']:.0f}"
        table.add_row(row["way"], row["placement"], count, f"{row['images_per_s']:.0f}", f"{100 * row['use']:.2g}")
    console.print(table)
    speed = frame["images_per_s"][frame["way"] == "side by side"].max() / frame["images_per_s"].iloc[0]
    console.print(f"the best number side by side is {speed:.2g} times as fast as the tutorial's function")
    console.print(
        f"the placement study, {len(PLACEMENTS)} x {FOLDS} folds x {EPOCHS} epochs: {duration(alone_s / gain)} by "
        f"projection; matrix products in bfloat16 reach {peak / 1e12:.3g} TFLOP/s"
    )


if __name__ == "__main__":
    run_app(app)
