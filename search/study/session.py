"""Everything known about a study before its images are decoded: space, data, machine and plan."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from threading import Thread
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape

from search.common.console import make_console
from search.common.errors import InputError
from search.data.given import (
    comparison_folds,
    locked_test_set,
    n_comparison_folds,
    require_agreement,
    unlearnable_classes,
)
from search.data.imageset import Listing, Source
from search.data.reading import Reading
from search.data.sources import SYNTHETIC, open_source
from search.data.splits import stratified_folds
from search.records.arguments import Arguments, Resources
from search.records.description import Plan
from search.space import Profile, Space
from search.space.load import load_space
from search.study.configurations import largest_configurations, typical_configuration
from search.study.elsewhere import elsewhere
from search.study.elsewhere import notes as class_notes
from search.study.networks import check_networks
from search.study.plan import Request, make_plan
from search.study.resume import planned_profile
from search.training.cost import image_cost
from search.tuning.cluster import Cluster, carry_code, ray_cluster
from search.tuning.packing import packed
from search.tuning.pool import probed_speeds, start_probe
from search.tuning.samplers import check_sampler


@dataclass(frozen=True, kw_only=True)
class Session:
    """A study's space, data, machine and plan.

    Attributes:
        shifts: laboratories to score every trial on.
        reports: further laboratories to score the comparison's networks on.
        notes: about the networks, for the user.
        probe: measures the training speed of the largest network of each level; see `level_speeds`.
    """

    arguments: Arguments
    resources: Resources
    space: Space
    source: Source
    target: Source | None
    shifts: tuple[Source, ...]
    reports: tuple[Source, ...]
    cluster: Cluster
    request: Request
    plan: Plan
    probe: list[tuple[str, Any]]
    console: Console
    notes: tuple[str, ...] = ()


def level_speeds(session: Session) -> dict[str, float]:
    """Cost per second of a slot that trains the largest network of a level, by level, as probed."""
    n_classes = session.request.n_classes
    largest = largest_configurations(session.space, session.plan.profile, n_classes)
    rates = probed_speeds(session.probe)
    return {level: rate * image_cost(largest[level], n_classes) for level, rate in rates.items()}


@contextmanager
def open_session(
    arguments: Arguments,
    resources: Resources,
    resumed: Mapping[str, Any] | None = None,
    name: str = "study",
    *,
    dashboard: bool = True,
) -> Iterator[Session]:
    """Open the data, start or join Ray, and plan; leave Ray at the end.

    Args:
        resumed: description of the study that is resumed, which keeps its profile.
        name: of the study, in Ray's dashboard.
        dashboard: start it with a local Ray.
    Raises:
        InputError: bad data, space, sampler or resources.
    """
    _, space = load_space(arguments.space)
    profile = None if resumed is None else planned_profile(resumed, space)
    source = _open(arguments, arguments.data, arguments.reading, microscope="first")
    target = None
    if arguments.target_data != "none":
        target = _open(arguments, arguments.target_data, arguments.target_reading)
    notes = _check_data(arguments, source.listing, None if target is None else target.listing)
    notes += check_networks(
        arguments.space,
        space,
        (space.paper,) if arguments.profile == "paper" else (space.quick if profile is None else (profile,)),
        len(source.listing.classes),
        transfers=target is not None,
    )
    by_name = Reading(class_names=arguments.class_name_of)
    shifts, reports = (
        tuple(_open(arguments, data, by_name) for data in given)
        for given in (arguments.shifted_data, arguments.reported_data)
    )
    for other in shifts:
        if not elsewhere(source.listing, other.listing):
            raise InputError(
                f"--shift-data {arguments.shift_data}: {other.listing.source} shares fewer than two classes with "
                f"{source.listing.source}; --class-names renames labels"
            )
    for other in (*(() if target is None else (target,)), *shifts, *reports):
        notes += class_notes(source.listing, other.listing)
    Thread(target=_import_libraries).start()
    with ray_cluster(
        address=resources.address,
        cpus_per_trial=resources.cpus_per_trial,
        gpus_per_trial=resources.gpus_per_trial,
        max_concurrent=resources.max_concurrent,
        timeout_s=resources.trial_timeout_s,
        profile_trace=resources.profile_trace,
        study=name,
        dashboard=dashboard,
    ) as cluster:
        carry_code(space.configure.__module__)
        request = _request(arguments, source, target, profile, gpu=cluster.gpus > 0)
        n_shifted, n_reported = (sum(len(lab.listing.labels) for lab in labs) for labs in (shifts, reports))
        request = replace(request, n_shifted=n_shifted, n_reported=n_reported)
        plan = make_plan(space, request)
        check_sampler(arguments.sampler, space, plan.profile, len(arguments.objective_names))
        largest = largest_configurations(space, plan.profile, request.n_classes)
        if resources.gpus_per_trial == "auto" and cluster.gpus:
            typical = typical_configuration(space, plan.profile, request.n_classes)
            dearest = max(largest.values(), key=lambda c: image_cost(c, request.n_classes))
            cluster = packed(cluster, typical, dearest, request.n_classes)
        yield Session(
            arguments=arguments,
            resources=resources,
            space=space,
            source=source,
            target=target,
            shifts=shifts,
            reports=reports,
            cluster=cluster,
            request=request,
            plan=plan,
            probe=start_probe(largest, request.n_classes, cluster),
            console=make_console(),
            notes=tuple(notes),
        )


def _import_libraries() -> None:
    """Import what a study needs later, while Ray starts; nothing that imports Ray, which is being imported."""
    for name in ("pandas", "scipy.stats", "sklearn.metrics", "sklearn.model_selection"):
        import_module(name)


def say(text: str) -> None:
    """Print a line."""
    make_console().print(escape(text))


def _open(
    arguments: Arguments, data: str, reading: Reading, microscope: Literal["first", "second"] = "second"
) -> Source:
    return open_source(
        data,
        microscope=microscope,
        seed=arguments.seed,
        reading=reading,
        data_dir=arguments.data_dir,
        say=say,
    )


def _check_data(arguments: Arguments, source: Listing, target: Listing | None) -> list[str]:
    """Notes on what the data allow.

    Raises:
        InputError: they do not allow the study.
    """
    notes = unlearnable_classes(source)
    development = locked_test_set(source, seed=0).train
    n_folds = n_comparison_folds(source, arguments.folds)
    comparison_folds(source, n_folds, 0, development)
    if target is not None:
        stratified_folds(target.labels, target.groups, n_folds=n_folds, seed=0)
        require_agreement(source, target)
    return notes


def _request(
    arguments: Arguments, source: Source, target: Source | None, profile: Profile | None, *, gpu: bool
) -> Request:
    synthetic = arguments.data == SYNTHETIC
    quick = arguments.profile == "quick" or (arguments.profile == "auto" and (synthetic or not gpu))
    return Request(
        profile_name="quick" if quick else "paper",
        synthetic=synthetic,
        n_images=len(source.listing.labels),
        n_classes=len(source.listing.classes),
        n_target=None if target is None else len(target.listing.labels),
        n_trials=arguments.trials,
        search_folds=arguments.search_folds,
        finalists=arguments.finalists,
        compare_settings=arguments.compare_settings,
        folds=n_comparison_folds(source.listing, arguments.folds),
        repeats=arguments.repeats,
        most_runs=None if arguments.until_settled is None else arguments.most_runs,
        control=arguments.control,
        profile=profile,
    )
