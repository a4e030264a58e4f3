"""What a study says before it starts."""

from pathlib import Path

import numpy as np
from rich.markup import escape

from search.common.console import duration, print_header
from search.data.imageset import Listing
from search.data.splits import TEST_SHARE
from search.records.arguments import Arguments
from search.study.opening import Session
from search.study.plan import disk_mb, image_cost, typical_configuration
from search.tuning.cluster import Cluster
from search.tuning.pool import probed_speed


def print_plan(session: Session, path: Path | None) -> None:
    """Say what will be done."""
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
        ("machine", _machine(cluster)),
    ]
    if cluster.dashboard is not None:
        token = "; it asks for the token that `ray get-auth-token` prints" if cluster.needs_token else ""
        facts.append(("dashboard", f"http://{cluster.dashboard}{token}"))
    if path is not None:
        facts.append(("folder", str(path)))
    print_header(session.console, session.space.question, facts)
    notes = [note for source in (session.source, session.target) if source for note in source.listing.notes]
    for note in dict.fromkeys(notes):
        session.console.print(f"[yellow]note[/yellow]  {escape(note)}")


def print_estimate(session: Session) -> None:
    """Say what the plan takes at most, at the speed of a few steps of a typical configuration in every slot."""
    typical = typical_configuration(session.space, session.plan.profile)
    estimate_s = session.plan.cost / (probed_speed(session.probe) * image_cost(typical))
    disk = disk_mb(session.plan, session.request)
    session.console.print(f"at most about {duration(estimate_s)} and {disk:.0f} MB of disk, by a short probe\n")


def _machine(cluster: Cluster) -> str:
    each = f", {cluster.gpus_per_trial:g} of a GPU for each" if cluster.gpus_per_trial else ""
    return f"{cluster.cpus:g} CPUs, {cluster.gpus:g} GPUs; {cluster.slots} trainings at once{each}"


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
