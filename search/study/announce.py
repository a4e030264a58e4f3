"""The announcement of a study before it starts: its plan, its cost and its networks."""

from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from search.common.console import duration, print_header
from search.data.given import locked_test_set
from search.data.imageset import Listing
from search.records.arguments import Arguments
from search.records.description import Plan
from search.space import CONTROL_LEVEL
from search.study.configurations import input_sides, largest_configurations, widths
from search.study.forecast import disk_mb, estimate_s
from search.study.session import Session, level_speeds
from search.tuning.cluster import Cluster
from wbcmodels.network import model_size

if TYPE_CHECKING:
    from search.analysis.power import Power

# A class with fewer images and a larger share of a metric's variance is worth a warning.
WEAK_IMAGES, WEAK_SHARE = 60, 0.5
# More classes are counted, not listed.
MOST_CLASSES = 12


def print_plan(session: Session, home: str | None) -> None:
    """Print what the study will do, and notes on its data.

    Args:
        home: the study's folder or address; None where there is none.
    """
    plan, cluster, profile = session.plan, session.cluster, session.plan.profile
    n_levels = len(session.space.levels)
    trials = f"{plan.n_trials // n_levels} settings at each of {n_levels} levels, {plan.n_trials} trials"
    if not plan.shares_settings:
        trials = f"{plan.n_trials} trials, {plan.n_trials // n_levels} for each of {n_levels} levels"
    n_test = len(locked_test_set(session.source.listing, seed=0).val)
    folds = f"{plan.search_folds} fold{'' if plan.search_folds == 1 else 's'}"
    confirm = f"the {plan.finalists} best of each level, on {folds} of their own"
    facts = [
        ("data", _described(session.source.listing)),
        *([] if session.target is None else [("transfer to", _described(session.target.listing))]),
        *(("score trials on", _described(lab.listing)) for lab in session.shifts),
        *(("report on", _described(report.listing)) for report in session.reports),
        ("networks", f"{plan.profile_name} profile: {_sizes(session)}, {profile.training}"),
        ("search", f"{trials}, on {folds}; {_strategy(session.arguments)}"),
        *([("confirm", confirm)] if plan.finalists > 1 else []),
        ("compare", _compared(plan)),
        *([("finds", _found(session))] if session.space.factor is not None else []),
        ("test", f"about {n_test} images locked away; only their score is free of selection"),
        ("machine", _described_machine(cluster)),
    ]
    if cluster.dashboard is not None:
        token = "; its token: ray get-auth-token" if cluster.needs_token else ""
        facts.append(("dashboard", f"http://{cluster.dashboard}{token}"))
    if home is not None:
        facts.append(("folder", home))
    print_header(session.console, session.space.question, facts)
    sources = (session.source, session.target, *session.shifts, *session.reports)
    notes = [note for source in sources if source for note in source.listing.notes]
    if session.arguments.trials not in (None, plan.n_trials):
        notes.append(
            f"--trials {session.arguments.trials} is rounded up to {plan.n_trials}, for {n_levels} levels"
        )
    notes += [*session.notes, *_weak_classes(session)]
    for note in dict.fromkeys(notes):
        session.console.print(f"[yellow]note[/yellow]  {escape(note)}")


def print_estimate(session: Session) -> None:
    """Print the range of the time, at the speed that the probe measured, and the disk that it takes at most."""
    least_s, most_s = estimate_s(session.plan, level_speeds(session), session.cluster.slots)
    disk = disk_mb(session.plan, session.request)
    time = f"{duration(least_s)} to {duration(most_s)}, estimated from a short probe"
    session.console.print(f"{time}, and at most {disk:.0f} MB of disk\n")


def print_networks(session: Session) -> None:
    """Print the largest network of each level, and how much of the levels' training it is."""
    table = Table(box=None, header_style="dim")
    for column in ("level", "parameters", "MACs", "input px", "epochs", "of the training"):
        table.add_column(column, justify="left" if column == "level" else "right", overflow="fold")
    n_classes, costs = session.request.n_classes, session.plan.costs
    whole = sum(costs.values())
    for level, configuration in largest_configurations(session.space, session.plan.profile, n_classes).items():
        size = model_size(configuration.model, n_classes)
        numbers = (f"{size.n_parameters:,}", f"{size.macs:,}", str(configuration.model.input_px))
        share = f"{100 * costs[level] / whole:.1f} %" if level in costs else ""
        table.add_row(escape(level), *numbers, str(configuration.training.epochs), share)
    session.console.print("largest network of each level, and its part of the levels' training")
    session.console.print(table)


def _sizes(session: Session) -> str:
    """Widths and sides that the space uses."""
    space, profile = session.space, session.plan.profile
    found = [f"width {'/'.join(f'{width:g}' for width in used)}"] if (used := widths(space, profile)) else []
    return ", ".join([*found, f"{'/'.join(map(str, input_sides(space, profile)))} px"])


def _compared(plan: Plan) -> str:
    """The runs of the comparison; the search has seen its images."""
    most = "at most " if len(plan.looks) > 1 else ""
    settings = f"{plan.compare_settings} best settings" if plan.compare_settings > 1 else "best setting"
    runs = f"{most}{plan.most_runs} run{'' if plan.most_runs == 1 else 's'} of {plan.folds} folds"
    until = "" if len(plan.looks) == 1 else f", looked at {len(plan.looks)} times until nothing is open"
    control = ", and the reference against itself" if plan.control else ""
    return f"all levels at the {settings}, {runs}{until}{control}; the search has seen these images"


def _found(session: Session) -> str:
    """The smallest differences that the comparison is expected to find."""
    from search.analysis.power import POWER
    from search.analysis.words import metric_words

    metric = session.arguments.metric
    texts = []
    for name in dict.fromkeys((metric, "accuracy", "brier")):
        found = _power(session, name)
        effect = "" if found.effect is None else f", {100 * found.effect:.1f} for an effect"
        texts.append(f"{metric_words(name)} {100 * found.pair:.1f} points between two levels{effect}")
    return f"with {100 * POWER:.0f} % chance: {'; '.join(texts)}; estimated from the class sizes"


def _weak_classes(session: Session) -> list[str]:
    """A warning if the metric depends on a class with few images."""
    from search.analysis.words import metric_words

    metric, listing = session.arguments.metric, session.source.listing
    found, counts = _power(session, metric), _development_counts(session)
    if session.space.factor is None or found.share < WEAK_SHARE or counts[found.weakest] >= WEAK_IMAGES:
        return []
    name = [name for name, n in zip(listing.classes, listing.class_counts(), strict=True) if n][found.weakest]
    return [
        f"{metric_words(metric)} depends on the {counts[found.weakest]} images of {name}, which have "
        f"{100 * found.share:.0f} % of its variance; accuracy and the Brier score, also reported, see more"
    ]


def _power(session: Session, metric: str) -> "Power":
    from search.analysis.families import main_family, pair  # with scipy, which the header need not wait for
    from search.analysis.power import power

    space, plan = session.space, session.plan
    control = [CONTROL_LEVEL] if plan.control else []
    contrasts = main_family(space.levels, space.reference, {e.name: e.levels for e in space.effects}, control)
    contrasts = contrasts or [pair([*space.levels, space.reference], space.levels[0], space.reference)]
    return power(_development_counts(session), metric, contrasts, plan.most_runs, plan.looks)


def _development_counts(session: Session) -> list[int]:
    listing = session.source.listing
    development = locked_test_set(listing, seed=0).train
    counts = np.bincount(listing.labels[development], minlength=len(listing.classes))
    return [max(1, int(n)) for n in counts]


def _described_machine(cluster: Cluster) -> str:
    share = f", each on {cluster.gpus_per_trial:g} of a GPU" if cluster.gpus_per_trial else ""
    return f"{cluster.cpus:g} CPUs, {cluster.gpus:g} GPUs; {cluster.slots} trainings at once{share}"


def _strategy(arguments: Arguments) -> str:
    """How configurations are proposed, and how trials are stopped early."""
    stops = {"race": "raced over folds", "asha": "halved by asha", "none": "never stopped early"}
    names = arguments.objective_names
    objectives = "" if len(names) == 1 else f" for {', '.join(names)}"
    return f"proposed by {arguments.sampler}{objectives}, {stops[arguments.pruner]}"


def _described(listing: Listing) -> str:
    counts = listing.class_counts()
    if len(counts) > MOST_CLASSES:
        classes = f"{len(counts)} classes of {counts.min()} to {counts.max()} images"
    else:
        classes = ", ".join(f"{name} {count}" for name, count in zip(listing.classes, counts, strict=True))
    grouped = "" if listing.groups is None else f" in {len(np.unique(listing.groups))} groups"
    return f"{listing.source}, {len(listing.labels)} images{grouped} ({classes})"
