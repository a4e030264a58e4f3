"""Rules for resuming a study: which arguments hold, which changes are refused, and what starts over."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from search.common.errors import InputError
from search.data.imageset import ImageSet
from search.records.arguments import PLACES, Arguments, Extension
from search.records.ledger import Ledger
from search.records.schema import Key, Phase
from search.records.studyfolder import StudyFolder
from search.space import Profile, Space


def resumed_arguments(folder: StudyFolder, extension: Extension) -> Arguments:
    """The study's arguments, extended.

    Raises:
        InputError: the extension asks for less than the study has, or for no more of a finished one, or the study
            is of an earlier version that compared other settings.
    """
    description = folder.description
    if "compare_settings" not in description["plan"]:
        raise InputError(f"{folder.path}: made by an earlier version; it can be shown, but not resumed")
    plan, n_levels = description["plan"], len(description["levels"])
    given = {name: value for name, value in asdict(extension).items() if value is not None}
    arguments = replace(Arguments(**description["arguments"]), **given)
    has = {"trials": plan["n_trials"], "repeats": plan["repeats"], "until_settled": plan["most_runs"]}
    wants = {
        "trials": n_levels * -(-(extension.trials or 0) // n_levels),
        "repeats": arguments.repeats,
        "until_settled": arguments.most_runs,
    }
    wanted = [name for name in given if name in wants]
    for name in wanted:
        if wants[name] < has[name]:
            raise InputError(f"--{name.replace('_', '-')} {given[name]}: the study already has {has[name]}")
    extended = any(wants[name] > has[name] for name in wanted)
    if "finished" in description and not extended:
        raise InputError(
            f"{folder.path}: the study is finished; extend it with more --trials, --repeats or --until-settled"
        )
    # The profile that "auto" chose on the first machine holds on any other.
    return replace(arguments, profile=plan["profile_name"])


def moved(arguments: Arguments, extension: Extension) -> dict[str, Any]:
    """Where a study's files are now, as arguments to record; nothing if they are where they were."""
    now = arguments.recorded()
    return {name: now[name] for name in PLACES if getattr(extension, name) is not None}


def planned_profile(description: Mapping[str, Any], space: Space) -> Profile:
    """The profile that a study was planned with, even if its space no longer has it."""
    recorded = description["plan"]["profile"]
    values: dict[str, Any] = {
        field.name: tuple(recorded[field.name]) if isinstance(recorded[field.name], list) else recorded[field.name]
        for field in fields(Profile)
        if field.name in recorded
    }
    planned = Profile(**values)
    # A space may ask whether it is one of its own.
    return next((profile for profile in (space.paper, *space.quick) if profile == planned), planned)


def refuse_changes(folder: StudyFolder, changes: Sequence[str], *, force: bool) -> None:
    """Raise InputError for changes since the study started, unless forced."""
    if changes and not force:
        raise InputError(f"{folder.path}: {'; '.join(changes)}; --force resumes anyway")


def refuse_missing(folder: StudyFolder, roles: Sequence[str]) -> None:
    """Raise InputError unless there are as many data sets in each role as the study has.

    Args:
        roles: of the data sets that are given now.
    """
    known: dict[str, list[str]] = defaultdict(list)
    for name, data in folder.description["data"].items():
        if "role" in data:  # earlier versions have not recorded it
            known[data["role"]].append(name)
    for role, names in known.items():
        if roles.count(role) < len(names):
            raise InputError(f"{folder.path}: the study needs all of its {role} images: {', '.join(names)}")


def has_changed(images: ImageSet, description: Mapping[str, Any]) -> bool:
    """Whether images differ from those that the study started with."""
    known = description["data"].get(images.source)
    return known is None or known["fingerprint"] != images.fingerprint


def named_as_before(description: Mapping[str, Any], images: ImageSet, role: str) -> ImageSet:
    """Images under the name that the study knows them by in this role, if only their folder has moved."""
    known = [
        name
        for name, data in description["data"].items()
        if data["fingerprint"] == images.fingerprint and data.get("role", role) == role
    ]
    return replace(images, source=known[0]) if known and images.source not in known else images


def discard_unfinished(folder: StudyFolder, ledger: Ledger) -> None:
    """Discard all checkpoints, the rows of unfinished trials, and Optuna's journal, which the ledger rebuilds."""
    folder.checkpoints.clear()
    folder.optuna_journal.unlink(missing_ok=True)
    finished = set(ledger.read("trials")["number"].to_pylist())
    names = ["number", "level", "setting", "data"]
    started = ledger.read("epochs", names, phase=Phase.SEARCH).group_by(names).aggregate([])
    for number, level, setting, data in zip(*started.to_pydict().values(), strict=True):
        if number not in finished:
            ledger.forget(Key(phase=Phase.SEARCH, number=number, level=level, setting=setting, data=data))


def reopen(folder: StudyFolder, description: Mapping[str, Any], changes: Sequence[str]) -> None:
    """Mark every phase as not done, so that each does what an extension or a forced change requires."""
    before = folder.description["plan"]
    was_settled = Phase.COMPARE in folder.description["phases_done"]
    folder.description.pop("finished", None)
    if was_settled and description.get("plan", before)["looks"] != before["looks"]:
        folder.description["beyond_plan"] = True
    forced = [*folder.description.get("forced", []), *changes]
    folder.update(**description, phases_done=[], **({"forced": forced} if forced else {}))


def as_json(value: Any) -> Any:
    """A value as a JSON file returns it."""
    return json.loads(json.dumps(value, default=str))
