"""The command that trains a network on each laboratory and tests it on all: `python -m search.shift`."""

import shlex
from pathlib import Path
from typing import Any

from search.common.commandline import Interrupted, command_given, make_app, run_app
from search.common.console import ProgressReporter, make_console, print_header
from search.common.errors import InputError
from search.common.files import write_atomically
from search.data.reading import parse_class_names
from search.records.arguments import at_least
from search.shift.laboratories import Laboratory, Pool, open_laboratories, pool
from search.shift.matrix import Finished, scored_classes, shift_matrix, table_of
from search.shift.network import ProfileName, TrainedKind, from_space, from_study
from search.shift.record import Record
from search.shift.trainings import Probabilities, Training, plan_trainings, run_trainings

app = make_app("search.shift")


@app.default
def main(
    *laboratories: Path,
    space: str | None = None,
    level: str | None = None,
    profile: ProfileName | None = None,
    study: Path | None = None,
    seeds: int = 5,
    folds: int = 5,
    least_images: int = 10,
    class_names: str | None = None,
    groups: list[str] | None = None,
    skip_bad: bool = False,
    output: Path | None = None,
) -> None:
    """Train one network on each laboratory's images, test it on those of all, and draw the matrix of scores.

    Args:
        laboratories: Folders of images, one for each laboratory, at least two.
        space: Space whose first point is trained: a name in spaces/, or a Python file; by default
            residual_placement.
        level: Level of the space; by default the first that is not the reference.
        profile: Size of network and training, quick or paper; by default quick.
        study: Folder of a finished study, whose winner is trained instead.
        seeds: Number of partitions into folds, each with initial weights of its own.
        folds: Folds of a partition: as many networks are trained on each laboratory.
        least_images: Images that a class needs in a laboratory to count in balanced accuracy and macro F1 there.
        class_names: Class names by label, such as 1=neutrophil,2=lymphocyte, for the laboratories that have such
            labels.
        groups: LABORATORY=COLUMN or LABORATORY=PATTERN, once for each laboratory: what no fold may separate there.
        skip_bad: Leave out images that cannot be read.
        output: Folder of the matrix; the same command goes on in it. By default results/shift- and the names.
    """
    at_least("--seeds", seeds, 1)
    at_least("--folds", folds, 2)
    at_least("--least-images", least_images, 2)
    _check_kind(space, level, profile, study)
    sources = open_laboratories(
        laboratories, parse_class_names(class_names) if class_names else {}, _groups(groups or [])
    )
    sizes = [len(source.listing.labels) for source in sources]
    n_classes = len(set.intersection(*(set(source.listing.classes) for source in sources)))
    if study is not None:
        kind = from_study(study)
    else:
        kind = from_space(space or "residual_placement", level, profile or "quick", n_classes, sizes)
    configuration = kind.configuration
    images = pool(sources, configuration.model.input_px, configuration.preparation, skip_bad=skip_bad)
    scored = scored_classes(images, least_images)
    trainings = plan_trainings(images, kind, seeds, folds)
    names = [laboratory.name for laboratory in images.laboratories]
    folder = output or Path("results") / "-".join(["shift", *names])
    record = Record(folder, _question(images, kind, trainings, folds, least_images), seeds)
    with record.open() as description:
        finished = _train(record, images, kind, trainings)
        # Takes seconds with matplotlib, for which the trainings did not wait.
        from search.shift.show import show

        matrix = shift_matrix(images, finished, scored, folds)
        write_atomically(folder / "shift.parquet", table_of(matrix))
        show(make_console(), folder, matrix, description)


def _check_kind(space: str | None, level: str | None, profile: str | None, study: Path | None) -> None:
    given = {"--space": space, "--level": level, "--profile": profile}
    for option, value in given.items():
        if study is not None and value is not None:
            raise InputError(f"{option} {value}: not allowed with --study, which has a network of its own")


def _groups(given: list[str]) -> dict[str, str]:
    """Laboratory -> column or pattern."""
    found = {}
    for text in given:
        name, equals, grouping = text.partition("=")
        if not (name and equals and grouping):
            raise InputError(f"--groups {text}: must be LABORATORY=COLUMN or LABORATORY=PATTERN")
        if name in found:
            raise InputError(f"--groups {text}: the second for {name}; give one")
        found[name] = grouping
    return found


def _question(
    images: Pool, kind: TrainedKind, trainings: list[Training], folds: int, least_images: int
) -> dict[str, Any]:
    """What determines the numbers of the matrix, and what the page says of them; without paths."""
    epochs = {each.laboratory: each.task.configuration.training.epochs for each in trainings}
    return {
        "laboratories": {
            each.name: {
                "images": dict(zip(images.classes, each.counts.tolist(), strict=True)),
                "left_out": each.left_out,
                "grouped": each.name in images.grouped,
                "epochs": epochs[each.name],
                "fingerprint": each.fingerprint,
            }
            for each in images.laboratories
        },
        "network": kind.name,
        "configuration": kind.configuration.fields(),
        "arguments": {"folds": folds, "least_images": least_images},
    }


def _train(record: Record, images: Pool, kind: TrainedKind, trainings: list[Training]) -> list[Finished]:
    """Train what the record lacks, and return all, in the order of the plan.

    Raises:
        StudyFailedError: a training failed.
        Interrupted: the user stopped it.
    """
    console = make_console()
    print_header(console, "wbc-search shift", _facts(images, kind, trainings, record.folder))
    found = {each.name: record.finished(each, images) for each in trainings}
    missing = [each for each in trainings if found[each.name] is None]
    reporter = ProgressReporter(console, sum(each.cost for each in trainings))
    for laboratory in images.laboratories:
        for line in _notes(images, laboratory):
            reporter.note(line)
    if len(missing) < len(trainings):
        reporter.say(f"{len(trainings) - len(missing)} of {len(trainings)} trainings are finished")
        reporter.credit(sum(each.cost for each in trainings if found[each.name] is not None))

    def done(training: Training, probabilities: Probabilities) -> None:
        record.keep(training, images, probabilities)
        found[training.name] = probabilities
        reporter.worked(training.cost)

    if missing:
        try:
            with reporter.live():
                reporter.phase("train", f"{len(missing)} networks")
                run_trainings(missing, images, kind.code, done)
        except KeyboardInterrupt:
            n = sum(value is not None for value in found.values())
            raise Interrupted(
                f"interrupted; {n} of {len(trainings)} trainings are kept in {shlex.quote(str(record.folder))}\n"
                f"  go on: {command_given('search.shift')}"
            ) from None
    return [
        Finished(training=each, probabilities=probabilities)
        for each in trainings
        if (probabilities := found[each.name]) is not None
    ]


def _facts(images: Pool, kind: TrainedKind, trainings: list[Training], folder: Path) -> list[tuple[str, str]]:
    model = kind.configuration.model
    epochs = {each.laboratory: each.task.configuration.training.epochs for each in trainings}
    return [
        *((each.name, f"{each.counts.sum()} images, {epochs[each.name]} epochs") for each in images.laboratories),
        ("classes", ", ".join(images.classes)),
        ("network", f"{kind.name}: {type(model).__name__}, {model.input_px} px"),
        ("trainings", str(len(trainings))),
        ("folder", str(folder)),
    ]


def _notes(images: Pool, laboratory: Laboratory) -> list[str]:
    lines = [f"{laboratory.name}: {note}" for note in laboratory.notes]
    if laboratory.left_out:
        classes = ", ".join(f"{name} ({n})" for name, n in laboratory.left_out.items())
        lines.append(f"{laboratory.name}: left out classes that another laboratory lacks: {classes}")
    single = [name for name, n in zip(images.classes, laboratory.counts, strict=True) if n == 1]
    if single:
        lines.append(f"{laboratory.name}: only one image of {', '.join(single)}: it is trained, but never scored")
    return lines


if __name__ == "__main__":
    run_app(app)
