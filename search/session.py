"""From arguments to a running study: open the data, start Ray, plan, say what will be done, and do it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.arguments import Arguments, Resources, study_name
from search.commandline import Interrupted
from search.console import Reporter, duration, make_console, print_header
from search.data.imageset import ImageSet, Listing, Source
from search.data.sources import SYNTHETIC, open_source
from search.data.splits import hold_out, stratified_folds
from search.errors import InputError
from search.origin import differences, origin
from search.phases.context import Study
from search.plan import (
    TEST_SHARE,
    Plan,
    Request,
    disk_mb,
    image_cost,
    input_sides,
    largest_configurations,
    make_plan,
    typical_configuration,
)
from search.resume import (
    AFTER_SEARCH,
    Extension,
    arguments_to_go_on,
    as_json,
    begin_unfinished_anew,
    other_images,
    profile_of,
    refuse,
    reopen,
)
from search.seeds import derive_seed
from search.show import print_results
from search.space import Profile, Space, load_space
from search.study import run_study, small_classes
from search.studyfolder import StudyFolder, now
from search.tables import Ledger
from search.tuning.cluster import Cluster, ray_cluster
from search.tuning.jobs import Workers, measure_speed
from search.tuning.samplers import check_sampler
from wbcmodels.cost import macs, n_parameters


@dataclass(frozen=True, kw_only=True)
class Session:
    """What is known before anything is decoded or trained."""

    arguments: Arguments
    space: Space
    source: Source
    target: Source | None
    cluster: Cluster
    request: Request
    plan: Plan
    console: Console


def new_study(arguments: Arguments, resources: Resources, output: Path, name: str | None) -> None:
    """Run a study from the beginning, in a new folder.

    Raises:
        InputError: bad data, space or resources, or a folder that exists.
    """
    path = (output / (name or study_name(arguments.space, now()))).absolute()
    if path.exists():
        raise InputError(f"{path}: it exists already; --name gives another one, --resume goes on with it")
    with _session(arguments, resources) as session:
        _print_header(session, path)
        source, target = _decode(session)
        _check_folds(session.plan, source, target)
        folder = StudyFolder.create(path, _description(session, source, target))
        with folder.locked():
            _run(session, source, target, folder, Ledger(path))


def resumed_study(path: Path, resources: Resources, extension: Extension, *, force: bool) -> None:
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
        with _session(arguments, resources, began_with) as session:
            if list(session.space.levels) != began_with["levels"]:
                raise InputError(
                    f"{path}: the study has levels {', '.join(began_with['levels'])}, the space others"
                )
            _print_header(session, folder.path)
            source, target = _decode(session)
            others = [images for images in (source, target) if other_images(began_with, images)]
            changes += [f"the images of {images.source} are others" for images in others if images]
            refuse(folder, changes, force=force)
            if force or not folder.optuna_journal.exists():
                begin_unfinished_anew(folder, ledger)
            for phase in AFTER_SEARCH if source in others else AFTER_SEARCH[-1:] if others else ():
                ledger.forget_all(phase=phase)
            description = as_json(_description(session, source, target))
            if force or description["plan"] != began_with["plan"]:
                reopen(folder, description, changes)
            _run(session, source, target, folder, ledger)


def plan_only(arguments: Arguments, resources: Resources) -> None:
    """Say what a study would do and cost."""
    with _session(arguments, resources) as session:
        _print_header(session, None)
        table = Table(box=None, header_style="dim")
        for column in ("level", "parameters", "MACs", "input px", "epochs"):
            table.add_column(column, justify="left" if column == "level" else "right")
        for level, configuration in largest_configurations(session.space, session.plan.profile).items():
            model = configuration.model
            cells = (f"{n_parameters(model):,}", f"{macs(model):,}", str(model.input_px))
            table.add_row(escape(level), *cells, str(configuration.training.epochs))
        session.console.print("largest network of each level")
        session.console.print(table)


@contextmanager
def _session(
    arguments: Arguments, resources: Resources, began_with: Mapping[str, Any] | None = None
) -> Iterator[Session]:
    _, space = load_space(arguments.space)
    profile = None if began_with is None else profile_of(began_with, space)
    source = open_source(
        arguments.data,
        microscope="first",
        seed=arguments.seed,
        class_names=arguments.class_name_of,
        groups=arguments.groups,
    )
    target = _open_target(arguments)
    with ray_cluster(
        address=resources.address,
        cpus_per_trial=resources.cpus_per_trial,
        gpus_per_trial=resources.gpus_per_trial,
        max_concurrent=resources.max_concurrent,
        timeout_s=resources.trial_timeout_s,
    ) as cluster:
        request = _request(arguments, source, target, profile, gpu=cluster.gpus > 0)
        plan = make_plan(space, request)
        check_sampler(arguments.sampler, space, plan.profile, len(arguments.objective_names))
        yield Session(
            arguments=arguments,
            space=space,
            source=source,
            target=target,
            cluster=cluster,
            request=request,
            plan=plan,
            console=make_console(),
        )


def _open_target(arguments: Arguments) -> Source | None:
    if arguments.transfer_data == "none":
        return None
    return open_source(
        arguments.transfer_data,
        microscope="second",
        seed=arguments.seed,
        class_names=arguments.class_name_of,
        groups=arguments.transfer_groups,
    )


def _request(
    arguments: Arguments, source: Source, target: Source | None, profile: Profile | None, *, gpu: bool
) -> Request:
    synthetic = arguments.data == SYNTHETIC
    quick = arguments.profile == "quick" or (arguments.profile == "auto" and (synthetic or not gpu))
    return Request(
        profile_name="quick" if quick else "paper",
        synthetic=synthetic,
        n_images=len(source.listing.labels),
        n_target=None if target is None else len(target.listing.labels),
        n_trials=arguments.trials,
        search_folds=arguments.search_folds,
        finalists=arguments.finalists,
        folds=arguments.folds,
        repeats=arguments.repeats,
        profile=profile,
    )


def _print_header(session: Session, path: Path | None) -> None:
    plan, cluster, profile = session.plan, session.cluster, session.plan.profile
    n_levels = len(session.space.levels)
    rounded = session.arguments.trials not in (None, plan.n_trials)
    trials = f"{plan.n_trials} trials, {plan.n_trials // n_levels} for each of {n_levels} levels"
    if rounded:
        trials += f" (rounded up from {session.arguments.trials})"
    confirm = f"the {plan.finalists} best of each level on {plan.search_folds} folds of their own"
    sides = "/".join(str(side) for side in profile.input_px)
    n_test = round(TEST_SHARE * session.request.n_images)
    facts = [
        ("data", _described(session.source.listing)),
        *([] if session.target is None else [("transfer to", _described(session.target.listing))]),
        ("networks", f"{plan.profile_name} profile: width {profile.width:g}, {sides} px, {profile.epochs} epochs"),
        ("search", f"{trials}, on {plan.search_folds} folds; {_how(session.arguments)}"),
        *([("confirm", confirm)] if plan.finalists > 1 else []),
        ("compare", f"every level's best on the same {plan.folds} folds; these are not nested in the search's"),
        ("test", f"about {n_test} images locked away; only their score is free of choice"),
        ("machine", f"{cluster.cpus:g} CPUs, {cluster.gpus:g} GPUs; {cluster.slots} trainings at once"),
    ]
    if cluster.dashboard is not None:
        token = "; it asks for the token that `ray get-auth-token` prints" if cluster.needs_token else ""
        facts.append(("dashboard", f"http://{cluster.dashboard}{token}"))
    if path is not None:
        facts.append(("folder", str(path)))
    print_header(session.console, session.space.question, facts)
    estimate_s = _estimate_s(session)
    disk = disk_mb(plan, session.request)
    session.console.print(f"at most about {duration(estimate_s)} and {disk:.0f} MB of disk, by a short probe\n")
    notes = [note for source in (session.source, session.target) if source for note in source.listing.notes]
    for note in dict.fromkeys(notes):
        session.console.print(f"[yellow]note[/yellow]  {escape(note)}")


def _how(arguments: Arguments) -> str:
    """Who chooses, and what stops trials early."""
    stops = {"race": "raced over folds", "asha": "halved by asha", "none": "none stopped early"}
    weighed = "" if len(arguments.objective_names) == 1 else f", for {', '.join(arguments.objective_names)}"
    return f"chosen by {arguments.sampler}{weighed}, {stops[arguments.pruner]}"


def _described(listing: Listing) -> str:
    counts = zip(listing.classes, listing.class_counts(), strict=True)
    classes = ", ".join(f"{name} {count}" for name, count in counts)
    grouped = "" if listing.groups is None else f" in {len(np.unique(listing.groups))} groups"
    return f"{listing.source}, {len(listing.labels)} images{grouped} ({classes})"


def _estimate_s(session: Session) -> float:
    """Seconds of the plan at its worst, at the speed of a few steps of a typical configuration."""
    typical = typical_configuration(session.space, session.plan.profile)
    return session.plan.cost / (measure_speed(typical, session.cluster) * image_cost(typical))


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


def _description(session: Session, source: ImageSet, target: ImageSet | None) -> dict[str, object]:
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


def _run(session: Session, source: ImageSet, target: ImageSet | None, folder: StudyFolder, ledger: Ledger) -> None:
    locked = hold_out(source.labels, source.groups, TEST_SHARE, derive_seed(session.arguments.seed, "test set"))
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
    )
    for line in small_classes(study):
        reporter.note(line)
    try:
        with reporter.live():
            run_study(study)
    except KeyboardInterrupt:
        resume = f"python -m search.run --resume {folder.path}"
        raise Interrupted(f"interrupted; the tables are readable, and this goes on: {resume}") from None
    finally:
        ledger.close()
    print_results(session.console, folder.path)
