"""The command that trains a network on each laboratory and tests it on all: `python -m search.shift`."""

from pathlib import Path
from typing import Literal

from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.common.errors import InputError
from search.common.files import write_atomically
from search.data.reading import parse_class_names
from search.records.arguments import at_least

app = make_app("search.shift")


@app.default
def main(
    *laboratories: Path,
    space: str | None = None,
    level: str | None = None,
    profile: Literal["quick", "paper"] | None = None,
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
    # With pandas and scikit-learn, for which --help need not wait.
    from search.shift.laboratories import open_laboratories, pool
    from search.shift.matrix import scored_classes, shift_matrix, table_of
    from search.shift.network import from_space, from_study
    from search.shift.record import Record
    from search.shift.running import question, train
    from search.shift.trainings import plan_trainings

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
    record = Record(folder, question(images, kind, trainings, folds, least_images), seeds)
    with record.open() as description:
        finished = train(record, images, kind, trainings)
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


if __name__ == "__main__":
    run_app(app)
