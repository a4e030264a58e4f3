"""From arguments to a running study: open the data, start Ray, plan, say what will be done, and do it."""

from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from search.common.commandline import Interrupted, command_given
from search.common.console import Reporter
from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.data.sources import SYNTHETIC
from search.data.splits import TEST_SHARE, hold_out, stratified_folds
from search.records.arguments import Arguments, Resources, study_name
from search.records.ledger import Ledger
from search.records.livelog import LiveLog, open_log
from search.records.observers import Observer, Observers
from search.records.studyfolder import StudyFolder, now
from search.records.timing import added, described
from search.study.header import print_estimate, print_plan
from search.study.opening import Session, open_session
from search.study.origin import differences, origin
from search.study.plan import Plan, input_sides, largest_configurations
from search.study.resume import (
    AFTER_SEARCH,
    Extension,
    arguments_to_go_on,
    as_json,
    begin_unfinished_anew,
    other_images,
    refuse,
    reopen,
)
from search.tuning.pool import Workers
from wbcmodels.cost import macs, n_parameters

if TYPE_CHECKING:
    from search.study.context import Study


def new_study(arguments: Arguments, resources: Resources, output: Path, name: str | None) -> Path:
    """Run a study from the beginning, in a new folder, and return its path.

    Raises:
        InputError: bad data, space or resources, or a folder that exists.
    """
    path = (output / (name or study_name(arguments.space, now()))).absolute()
    if path.exists():
        raise InputError(f"{path}: it exists already; --name gives another one, --resume goes on with it")
    with open_session(arguments, resources, name=path.name) as session:
        print_plan(session, path)
        source, target = _prepare(session)
        _check_folds(session.plan, source, target)
        folder = StudyFolder.create(path, describe(session, source, target))
        with folder.locked():
            _run(session, source, target, folder, Ledger(path), resources.log_to)
    return path


def resumed_study(path: Path, resources: Resources, extension: Extension, *, force: bool) -> Path:
    """Go on with a study where it stopped, or extend a finished one.

    Args:
        force: go on although data, space or code are not what the study began with, or a journal is damaged.
            Finished trainings are kept, but for those after the search on images that have changed; all that is
            unfinished begins anew.
    Raises:
        InputError: no study there, a finished one that is not extended, or what `force` would go over.
    """
    folder = StudyFolder.open(path.absolute())
    with folder.locked():
        began_with = dict(folder.description)
        arguments = arguments_to_go_on(folder, extension)
        changes = differences(began_with.get("origin", {}), origin(arguments.space))
        refuse(folder, changes, force=force)
        ledger = Ledger(folder.path, cut_damage=force)
        with open_session(arguments, resources, began_with, folder.path.name) as session:
            if list(session.space.levels) != began_with["levels"]:
                raise InputError(
                    f"{path}: the study has levels {', '.join(began_with['levels'])}, the space others"
                )
            print_plan(session, folder.path)
            source, target = _prepare(session)
            others = [images for images in (source, target) if other_images(began_with, images)]
            changes += [f"the images of {images.source} are others" for images in others if images]
            refuse(folder, changes, force=force)
            if force or not folder.optuna_journal.exists():
                begin_unfinished_anew(folder, ledger)
            for phase in AFTER_SEARCH if source in others else AFTER_SEARCH[-1:] if others else ():
                ledger.forget_all(phase=phase)
            description = as_json(describe(session, source, target))
            if force or description["plan"] != began_with["plan"]:
                reopen(folder, description, changes)
            _run(session, source, target, folder, ledger, resources.log_to)
    return folder.path


def plan_only(arguments: Arguments, resources: Resources) -> None:
    """Say what a study would do and cost."""
    with open_session(arguments, resources) as session:
        print_plan(session, None)
        print_estimate(session)
        table = Table(box=None, header_style="dim")
        for column in ("level", "parameters", "MACs", "input px", "epochs"):
            table.add_column(column, justify="left" if column == "level" else "right")
        for level, configuration in largest_configurations(session.space, session.plan.profile).items():
            model = configuration.model
            cells = (f"{n_parameters(model):,}", f"{macs(model):,}", str(model.input_px))
            table.add_row(escape(level), *cells, str(configuration.training.epochs))
        session.console.print("largest network of each level")
        session.console.print(table)


def _prepare(session: Session) -> tuple[ImageSet, ImageSet | None]:
    """Decode the images while the probe runs, and say what it found."""
    import_module("search.study.study")  # with Ray Tune it takes seconds, which the header did not wait for
    source, target = _decode(session)
    print_estimate(session)
    return source, target


def _decode(session: Session) -> tuple[ImageSet, ImageSet | None]:
    sides = input_sides(session.space, session.plan.profile)
    skip_bad = session.arguments.skip_bad
    source = session.source.decode(sides, skip_bad=skip_bad)
    if session.target is None:
        return source, None
    target = session.target.decode(sides, skip_bad=skip_bad)
    if target.source == source.source:  # tables and workers tell data sets apart by name
        target = replace(target, source=f"{target.source}-target")
    return source, target


def describe(session: Session, source: ImageSet, target: ImageSet | None) -> dict[str, object]:
    """What `study.json` says of a study from its start."""
    return {
        "arguments": _lasting(session.arguments),
        "question": session.space.question,
        "factor": session.space.factor,
        "levels": session.space.levels,
        "reference": session.space.reference,
        "plan": asdict(session.plan),
        "origin": origin(session.arguments.space),
        "data": {
            images.source: {
                "fingerprint": images.fingerprint,
                "n_images": len(images.labels),
                "classes": dict(zip(images.classes, images.class_counts().tolist(), strict=True)),
                "grouped": images.groups is not None,
                "notes": images.notes,
            }
            for images in (source, target)
            if images is not None
        },
    }


def _lasting(arguments: Arguments) -> dict[str, object]:
    """The arguments by name, with paths that hold in whichever folder the study is resumed."""
    values = asdict(arguments)
    for name in ("space", "data", "transfer_data"):
        value = values[name]
        is_path = value.endswith(".py") if name == "space" else value not in (SYNTHETIC, "none")
        values[name] = str(Path(value).absolute()) if is_path else value
    return values


def _check_folds(plan: Plan, source: ImageSet, target: ImageSet | None) -> None:
    """Raise InputError for more folds than there is to partition, now and not after an hour's search."""
    development = hold_out(source.labels, source.groups, TEST_SHARE, seed=0).train
    for n_folds in (plan.search_folds, plan.folds):
        stratified_folds(source.labels, source.groups, n_folds=n_folds, seed=0, among=development)
    if target is not None:
        stratified_folds(target.labels, target.groups, n_folds=plan.folds, seed=0)


def _run(
    session: Session,
    source: ImageSet,
    target: ImageSet | None,
    folder: StudyFolder,
    ledger: Ledger,
    log_to: str | None,
) -> None:
    from search.study.context import Study
    from search.study.study import run_study, small_classes

    locked = hold_out(source.labels, source.groups, TEST_SHARE, derive_seed(session.arguments.seed, "test set"))
    folder.update(commands=[*folder.description.get("commands", []), command_given("search.run")])
    reporter = Reporter(session.console, session.plan.cost)
    study = Study(
        arguments=session.arguments,
        space=session.space,
        plan=session.plan,
        source=source,
        target=target,
        development=locked.train,
        locked=locked.val,
        folder=folder,
        ledger=ledger,
        cluster=session.cluster,
        reporter=reporter,
        workers=Workers(session.cluster),
        photograph=session.source.photograph,
        observers=_observers(session.arguments, folder, ledger, reporter, log_to),
    )
    for line in small_classes(study):
        reporter.note(line)
    try:
        with reporter.live():
            run_study(study)
    except KeyboardInterrupt:
        _settle_time(study)
        resume = f"python -m search.run --resume {folder.path}"
        report = f"python -m search.report {folder.path}"
        raise Interrupted(
            f"interrupted; the tables are readable, {report} draws them, and this goes on: {resume}"
        ) from None
    finally:
        ledger.close()
        study.observers.close()
    _settle_time(study)


def _observers(
    arguments: Arguments, folder: StudyFolder, ledger: Ledger, reporter: Reporter, log_to: str | None
) -> Observers:
    from search.tuning.gauges import StudyGauges

    observers: list[Observer] = [
        StudyGauges(folder.path.name, arguments.metric, ledger.read("trials").to_pylist())
    ]
    if log_to is not None:
        started = folder.description["started"]
        make = partial(open_log, log_to, folder.path, started)
        observers.append(LiveLog(log_to, make, arguments.metric, reporter.note))
    return Observers(observers, reporter.note)


def _settle_time(study: "Study") -> None:
    """Say where the run's time went, and add it to that of earlier runs."""
    run = study.timing.so_far(study.cluster.slots)
    study.reporter.console.print(f"[bold]time[/bold]  {described(run, study.cluster.slots)}")
    study.folder.update(time=added(study.folder.description.get("time", {}), run))
