"""The launch of a study, new or resumed: its phases are run in a folder or at an address."""

import shlex
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from search.audit.terminal import print_reading
from search.common.commandline import Interrupted, command_given
from search.common.console import ProgressReporter
from search.common.errors import InputError, StudyFailedError
from search.common.files import write_text
from search.common.seeds import derive_seed
from search.data.given import comparison_folds, locked_test_set
from search.data.imageset import Listing
from search.data.splits import stratified_folds
from search.records.arguments import Arguments, Extension, Resources, study_name
from search.records.configfile import CONFIG_FILE, config_text
from search.records.description import Plan
from search.records.ledger import Ledger
from search.records.livelog import LiveLog, open_log
from search.records.mirror.home import Home, study_home
from search.records.mirror.store import is_address
from search.records.observers import Observer, Observers
from search.records.schema import Phase
from search.records.studyfolder import StudyFolder, now
from search.records.timing import added, described
from search.study.announce import print_estimate, print_networks, print_plan
from search.study.configurations import input_sides, widths
from search.study.decoding import StudyImages, decode_images
from search.study.forecast import clock_of
from search.study.plan import search_partition
from search.study.provenance import provenance, provenance_changes
from search.study.resume import (
    as_json,
    discard_unfinished,
    has_changed,
    moved,
    named_as_before,
    refuse_changes,
    refuse_missing,
    reopen,
    resumed_arguments,
)
from search.study.session import Session, level_speeds, open_session, say
from search.tuning.pool import Workers

if TYPE_CHECKING:
    from search.study.context import Study


Show = Callable[[Path], object]
"""Shows a finished study, given its folder."""


def new_study(
    arguments: Arguments,
    resources: Resources,
    output: str,
    name: str | None,
    show: Show,
    *,
    command: str | None = None,
) -> None:
    """Run a study in a new folder or at a new address.

    Args:
        output: a folder or an address, below which the study gets its name.
        command: that `study.json` records; by default the command line of this process.
    Raises:
        InputError: bad data, space or resources, no access to the address, or there is something already.
        StudyFailedError: the study failed.
        Interrupted: the user stopped it.
    """
    with study_home(_named(arguments, output, name), new=True, say=say) as home:
        _start(arguments, resources, home, command)
        show(home.path)


def _named(arguments: Arguments, output: str, name: str | None) -> str:
    """The folder or address of a new study."""
    return f"{output.rstrip('/') or '/'}/{name or study_name(arguments.space, now())}"


def _start(arguments: Arguments, resources: Resources, home: Home, command: str | None) -> None:
    path = home.path
    _refuse_existing(path)
    with open_session(arguments, resources, name=path.name) as session:
        print_plan(session, home.address)
        images = _prepare(session)
        _check_folds(session.plan, images.source, images.target)
        folder = StudyFolder.create(path, describe(session, images))
        with folder.locked():
            _run(session, images, folder, Ledger(path), home, command)


def resumed_study(
    study: str,
    resources: Resources,
    extension: Extension,
    show: Show,
    *,
    force: bool,
    command: str | None = None,
) -> None:
    """Resume a study where it stopped, or extend a finished one.

    Args:
        study: its folder or address.
        force: resume even if data, space or code have changed, or a journal is damaged. Finished trainings are
            kept, except those after the search on images that have changed; everything unfinished starts over.
        command: as in `new_study`.
    Raises:
        InputError: no study there, a finished one that is not extended, or a change that is not forced.
        StudyFailedError: the study failed.
        Interrupted: the user stopped it.
    """
    with study_home(study, new=False, say=say) as home:
        _resume(resources, extension, home, command, force=force)
        show(home.path)


def _resume(resources: Resources, extension: Extension, home: Home, command: str | None, *, force: bool) -> None:
    path = home.path
    folder = StudyFolder.open(path)
    with folder.locked():
        before = dict(folder.description)
        arguments = resumed_arguments(folder, extension)
        changes = provenance_changes(before.get("origin", {}), provenance(arguments.space))
        refuse_changes(folder, changes, force=force)
        ledger = Ledger(folder.path, cut_damage=force)
        with open_session(arguments, resources, before, folder.path.name) as session:
            levels = list(session.space.levels)
            if levels != before["levels"]:
                raise InputError(
                    f"{path}: the study has levels {', '.join(before['levels'])}, but the space now has "
                    f"{', '.join(levels)}; start a new study"
                )
            print_plan(session, home.address)
            images = _prepare(session).renamed(partial(named_as_before, before))
            source_changed = has_changed(images.source, before)
            target_changed = images.target is not None and has_changed(images.target, before)
            refuse_missing(folder, [role for _, role in images.roles])
            changed = [data.source for data, _ in images.roles if has_changed(data, before)]
            changes += [f"the images of {name} have changed" for name in changed]
            refuse_changes(folder, changes, force=force)
            folder.update(arguments={**before["arguments"], **moved(arguments, extension)})
            if force or not folder.optuna_journal.exists():
                discard_unfinished(folder, ledger)
            # Results on old images cannot be compared with results on new ones.
            for phase in (Phase.CONFIRM, Phase.COMPARE, Phase.TEST) if source_changed else ():
                ledger.forget_all(phase=phase)
            for phase in (Phase.TRANSFER, Phase.UNTOUCHED) if source_changed or target_changed else ():
                ledger.forget_all(phase=phase)
            for data in images.reports:
                if source_changed or data.source in changed:
                    ledger.forget_all(phase=Phase.SHIFT, data=data.source)
            description = as_json(describe(session, images))
            if force or description["plan"] != before["plan"]:
                reopen(folder, description, changes)
            _run(session, images, folder, ledger, home, command)


def plan_only(arguments: Arguments, resources: Resources, output: str, name: str | None) -> None:
    """Print what a study would do and cost.

    Raises:
        InputError: bad data, space or resources, or the folder exists.
    """
    study = _named(arguments, output, name)
    if not is_address(study):
        study = str(Path(study).absolute())
        _refuse_existing(Path(study))
    with open_session(arguments, resources, dashboard=False) as session:
        print_plan(session, study)
        target = session.target
        _check_folds(session.plan, session.source.listing, None if target is None else target.listing)
        for source in (session.source, session.target):
            if source is not None:
                print_reading(session.console, source.listing)
        print_estimate(session)
        print_networks(session)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path}: already exists; choose another --name, or --resume it")


def _prepare(session: Session) -> StudyImages:
    """Decode all images while the probe runs, and print its estimate."""
    import_module("search.study.study")  # takes seconds with Ray Tune, for which the header did not wait
    images = decode_images(session)
    print_estimate(session)
    return images


def describe(session: Session, decoded: StudyImages) -> dict[str, object]:
    """The contents of `study.json` when a study starts."""
    return {
        "arguments": session.arguments.recorded(),
        "question": session.space.question,
        "factor": session.space.factor,
        "levels": session.space.levels,
        "reference": session.space.reference,
        "effects": {effect.name: effect.levels for effect in session.space.effects},
        "widths": widths(session.space, session.plan.profile),
        "sides_px": input_sides(session.space, session.plan.profile),
        "plan": asdict(session.plan),
        "origin": provenance(session.arguments.space),
        "data": {
            images.source: {
                "role": role,
                "fingerprint": images.fingerprint,
                "n_images": len(images.labels),
                "classes": dict(zip(images.classes, images.class_counts().tolist(), strict=True)),
                "grouped": images.groups is not None,
                "notes": images.notes,
            }
            for images, role in decoded.roles
        },
    }


def _check_folds(plan: Plan, source: Listing, target: Listing | None) -> None:
    """Raise InputError for more folds than the images allow, before the search rather than after it."""
    development = locked_test_set(source, seed=0).train
    n_search = search_partition(plan.search_folds, shared=plan.shares_settings)
    stratified_folds(source.labels, source.groups, n_folds=n_search, seed=0, among=development)
    comparison_folds(source, plan.folds, 0, development)
    if target is not None:
        stratified_folds(target.labels, target.groups, n_folds=plan.folds, seed=0)


def _run(
    session: Session, images: StudyImages, folder: StudyFolder, ledger: Ledger, home: Home, command: str | None
) -> None:
    from search.study.context import Study
    from search.study.study import run_study, small_classes

    source = images.source
    locked = locked_test_set(source, derive_seed(session.arguments.seed, "test set"))
    write_text(folder.path / CONFIG_FILE, config_text(session.arguments, session.resources))
    command = command or command_given("search.run")
    folder.update(commands=[*folder.description.get("commands", []), command])
    clock = clock_of(session.plan, level_speeds(session), session.cluster.slots)
    reporter = ProgressReporter(session.console, clock)
    study = Study(
        arguments=session.arguments,
        space=session.space,
        plan=session.plan,
        source=source,
        target=images.target,
        shifts=images.shifts,
        reports=images.reports,
        development=locked.train,
        locked=locked.val,
        folder=folder,
        ledger=ledger,
        cluster=session.cluster,
        reporter=reporter,
        workers=Workers(session.cluster),
        photograph=session.source.photograph,
        observers=_observers(session, folder, ledger, reporter),
    )
    for line in small_classes(study):
        reporter.note(line)
    if home.mirror is not None:
        home.mirror.follow(reporter.note)
    try:
        with reporter.live():
            run_study(study)
    except KeyboardInterrupt:
        _record_time(study)
        message = f"interrupted; the tables hold all results so far\n{_ways_on(home)}"
        raise Interrupted(message) from None
    except StudyFailedError:
        session.console.print(escape(_ways_on(home)), soft_wrap=True)
        raise
    finally:
        ledger.close()
        study.observers.close()
    _record_time(study)


def _ways_on(home: Home) -> str:
    """The commands for a study that has not finished, on lines of their own and quoted for a shell."""
    return (
        f"  resume: python -m search.run --resume {shlex.quote(home.address)}\n"
        f"  report: python -m search.report {shlex.quote(str(home.path))}"
    )


def _observers(session: Session, folder: StudyFolder, ledger: Ledger, reporter: ProgressReporter) -> Observers:
    from search.tuning.gauges import StudyGauges

    metric, log_to = session.arguments.metric, session.resources.log_to
    observers: list[Observer] = [StudyGauges(folder.path.name, metric, ledger.read("trials").to_pylist())]
    if log_to is not None:
        make = partial(open_log, log_to, folder.path, folder.description["started"])
        observers.append(LiveLog(log_to, make, metric, reporter.note))
    return Observers(observers, reporter.note)


def _record_time(study: "Study") -> None:
    """Print where the run's time went, and add it to that of earlier runs."""
    run = study.timing.so_far(study.cluster.slots)
    study.reporter.console.print(f"[bold]time[/bold]  {described(run, study.cluster.slots)}")
    study.folder.update(time=added(study.folder.description.get("time", {}), run))
