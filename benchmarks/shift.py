"""What helps a network on another laboratory's slides? An ablation over the levels of `spaces/shift.py`.

    python -m benchmarks.shift --train A --choose B,C --test D --seeds 5

Trains every level on the first laboratories, chooses the one with the highest macro recall on the second ones, and
scores it on the last, which neither training nor choice have seen. A macro recall is the mean over classes with
at least 20 images. Intervals are of 95 % over seeds (Student's t): they hold for these laboratories, and say
nothing of others. Finished trainings are kept in the output file, and a second call of the same command goes on.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import pandas as pd
import torch
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.shift_trainings import LEAST_IMAGES, Laboratory, Training, laboratory, run_all
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.common.files import replace_file
from search.data.imageset import ImageSet
from search.data.reading import Reading, parse_class_names
from search.data.sources import open_source
from search.records.arguments import one_of
from search.space import Configuration, FixedSuggester, Profile, StainStyle
from search.training.augment import stain_style
from spaces.shift import SHIFTS, SPACE
from wbcmodels.efficientnet_lite import EfficientNetLite0

NETWORKS = ("wbcsnet2", "efficientnet_lite0")

app = make_app("benchmarks.shift")


@app.default
def main(
    *,
    train: str,
    test: str,
    choose: str | None = None,
    class_names: str | None = None,
    settings: str = ",".join(SHIFTS),
    weighting: str = "balanced",
    unlabelled: str | None = None,
    network: str = "wbcsnet2",
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 12,
    side: Annotated[int, Parameter(validator=Number(gte=4))] = 40,
    workers: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    output: Path | None = None,
) -> None:
    """Train, choose, and score the choice.

    Args:
        train, test: Folders of images, comma-separated.
        choose: Folders whose macro recall orders the settings; without any, they stay in the given order.
        class_names: Names of labels, such as 1=neutrophil,2=lymphocyte, for label files.
        settings: Levels of spaces/shift.py, comma-separated.
        weighting: Weights of the classes in the loss, none or balanced.
        unlabelled: Folders whose colours random stains are taken from, without their labels.
        network: wbcsnet2, or the pretrained efficientnet_lite0.
        seeds: Trainings of each level.
        epochs: Epochs of every training.
        side: Input side in px.
        workers: Trainings at a time; by default one on each core.
        output: Parquet file with one row per training and laboratory; finished trainings in it are kept.
    """
    one_of("--network", network, NETWORKS)
    one_of("--weighting", weighting, ("none", "balanced"))
    levels = settings.split(",")
    for name in levels:
        one_of("--settings", name, tuple(SHIFTS))
    roles = {"train": train.split(","), "choose": choose.split(",") if choose else [], "test": test.split(",")}
    classes, found = load(roles, class_names, side)
    named = {role: tuple(Path(folder).name for folder in folders) for role, folders in roles.items()}
    styles = (
        () if unlabelled is None else tuple(_style(folder, class_names, side) for folder in unlabelled.split(","))
    )
    console = make_console()
    for one in found.values():
        counts = ", ".join(
            f"{n} {name}" for name, n in zip(classes, np.bincount(one.labels, minlength=len(classes)), strict=True)
        )
        console.print(f"{one.name}: {counts}", soft_wrap=True)
    common = {
        "train": "+".join(named["train"]),
        "network": network,
        "weighting": weighting,
        "styles": len(styles),
        "epochs": epochs,
        "side_px": side,
        "classes": ",".join(classes),
    }
    trainings = [
        Training(
            setting=name,
            seed=seed,
            configuration=configuration(name, network, weighting, epochs, side, styles),
            train=named["train"],
            score=(*named["choose"], *named["test"]),
        )
        for seed in range(seeds)
        for name in levels
    ]
    frame = pd.DataFrame() if output is None or not output.is_file() else pd.read_parquet(output)
    left = [training for training in trainings if not len(rows_of(frame, common, training.setting, training.seed))]
    n_workers = workers or len(os.sched_getaffinity(0))
    for number, rows in enumerate(run_all(left, list(found.values()), len(classes), n_workers), start=1):
        new = pd.DataFrame([{**common, **row, "torch": torch.__version__} for row in rows])
        frame = pd.concat([frame, new], ignore_index=True)
        if output is not None:
            replace_file(output, partial(_write, frame))
        first = rows[0]
        what = f"{first['setting']}, seed {first['seed']}: {first['train_s']:.0f} s"
        console.print(f"{number} of {len(left)}  {what}", soft_wrap=True)
    mine = pd.concat([rows_of(frame, common, training.setting, training.seed) for training in trainings])
    print_table(console, summary(mine, named["choose"]), named)


def load(
    roles: Mapping[str, Sequence[str]], class_names: str | None, side_px: int
) -> tuple[tuple[str, ...], dict[str, Laboratory]]:
    """The classes of all laboratories trained on, and all laboratories by name.

    Raises:
        InputError: a folder cannot be used, has two roles, or shares fewer than two classes with those trained on.
    """
    folders = [folder for role in roles.values() for folder in role]
    names = [Path(folder).name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: given twice; what is trained on, chosen by and tested on must differ")
    sets = {name: _decode(folder, class_names, side_px) for name, folder in zip(names, folders, strict=True)}
    trained = [sets[Path(folder).name] for folder in roles["train"]]
    classes = tuple(sorted({name.lower() for images in trained for name in images.classes}))
    found = {name: laboratory(images, classes, side_px) for name, images in sets.items()}
    for name, one in found.items():
        if len(np.unique(one.labels)) < 2:
            has = ", ".join(sets[name].classes)
            raise InputError(
                f"{name}: has the classes {has}, not {', '.join(classes)}; name them by --class-names"
            )
    return classes, found


def configuration(
    level: str, network: str, weighting: str, epochs: int, side_px: int, styles: Sequence[StainStyle]
) -> Configuration:
    """A level at its first point, with random stains like the given ones."""
    profile = Profile(
        width=0.25,
        epochs=epochs,
        transfer_epochs=epochs,
        input_px=(side_px,),
        lr=(0.002, 0.03),
        trials_per_level=1,
        search_folds=2,
    )
    params = {**SPACE.first_points(level, profile)[0], "class_weighting": weighting}
    made = SPACE.configure(FixedSuggester(params), level, profile)
    if styles and made.training.augmentation.stain:
        augmentation = replace(made.training.augmentation, styles=tuple(styles))
        made = replace(made, training=replace(made.training, augmentation=augmentation))
    if network == "efficientnet_lite0":
        training = replace(made.training, optimizer="adamw", lr=0.001, weight_decay=0.01)
        made = replace(made, model=EfficientNetLite0(input_px=side_px), training=training)
    return made


def rows_of(frame: pd.DataFrame, common: Mapping[str, Any], setting: str, seed: int) -> pd.DataFrame:
    """The recorded rows of one training."""
    if frame.empty:
        return frame
    wanted = {**common, "setting": setting, "seed": seed}
    return frame[np.logical_and.reduce([frame[name] == value for name, value in wanted.items()])]


def summary(rows: pd.DataFrame, choose: Sequence[str]) -> pd.DataFrame:
    """One row per setting, untouched and adapted, the best choice first.

    Returns:
        `chosen_by`, the mean macro recall over seeds and the laboratories chosen by; and for every laboratory and
        score its `mean` and half an interval over seeds, in columns (laboratory, score, part).
    """
    found = {}
    for key, group in rows.groupby(["setting", "adapted"], sort=False):
        cells: dict[Any, float] = {}
        for name, of_name in group.groupby("tested_on", sort=False):
            for score in ("accuracy", "macro_recall"):
                values = of_name.sort_values("seed")[score].to_numpy(float)
                cells[name, score, "mean"] = values.mean()
                cells[name, score, "half"] = half_width(values)
        by = [cells[name, "macro_recall", "mean"] for name in choose]
        cells["chosen_by", "macro_recall", "mean"] = float(np.mean(by)) if by else float("nan")
        cells["n", "seeds", "n"] = group["seed"].nunique()
        found[key] = cells
    table = pd.DataFrame.from_dict(found, orient="index")
    return table.sort_values(("chosen_by", "macro_recall", "mean"), ascending=False, kind="stable")


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % interval of a mean, by Student's t; NaN of a single value."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def print_table(console: Console, found: pd.DataFrame, named: Mapping[str, Sequence[str]]) -> None:
    """Print the settings in the order of the choice."""
    n_seeds = int(found["n", "seeds", "n"].min())
    trained, by = (" and ".join(named[role]) for role in ("train", "choose"))
    choice = f"the first row is chosen by {by}" if by else "nothing is chosen"
    seeds = f"{n_seeds} seed{'' if n_seeds == 1 else 's'}"
    title = f"Trained on {trained}, {seeds}; {choice}. Macro recall: classes with at least {LEAST_IMAGES} images"
    table = Table(title=title, title_justify="left")
    for column in ("setting", "norms", *(["chosen by"] if by else [])):
        table.add_column(column)
    tested = [(name, score) for name in named["test"] for score in ("accuracy", "macro_recall")]
    for name, score in tested:
        table.add_column(f"{name} {score.replace('_', ' ')}", justify="right")
    for key, row in found.iterrows():
        setting, adapted = cast(tuple[str, bool], key)
        cells = [_with_half(row[name, score, "mean"], row[name, score, "half"]) for name, score in tested]
        if by:
            cells.insert(0, f"{row['chosen_by', 'macro_recall', 'mean']:.3f}")
        table.add_row(setting, "adapted" if adapted else "untouched", *cells)
    console.print(table)


def _with_half(mean: float, half: float) -> str:
    return f"{mean:.3f}" if np.isnan(half) else f"{mean:.3f} ± {half:.3f}"


def _decode(folder: str, class_names: str | None, side_px: int) -> ImageSet:
    reading = Reading(class_names=None if class_names is None else parse_class_names(class_names))
    return open_source(folder, microscope="first", seed=0, reading=reading).decode([side_px])


def _style(folder: str, class_names: str | None, side_px: int) -> StainStyle:
    return stain_style(torch.from_numpy(_decode(folder, class_names, side_px).pixels[side_px].copy()))


def _write(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False)


if __name__ == "__main__":
    run_app(app)
