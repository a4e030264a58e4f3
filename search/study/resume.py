"""What it takes to go on with a study: which arguments hold, what has changed since, and what begins anew."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from search.common.errors import InputError
from search.data.imageset import ImageSet
from search.records.arguments import Arguments
from search.records.ledger import Ledger
from search.records.schema import Key
from search.records.studyfolder import StudyFolder
from search.space import Profile, Space

# What was trained on a data set and cannot be set beside trainings on other images.
AFTER_SEARCH = ("confirm", "compare", "test", "transfer")


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What a study is to have more of than it was planned with; None leaves it."""

    trials: int | None = None
    repeats: int | None = None


def arguments_to_go_on(folder: StudyFolder, extension: Extension) -> Arguments:
    """The study's arguments, extended.

    Raises:
        InputError: less than the study has, or nothing more of a finished one.
    """
    description = folder.description
    arguments, plan = Arguments(**description["arguments"]), description["plan"]
    # What `auto` came to where the study began holds wherever it goes on.
    arguments = replace(arguments, profile=plan["profile_name"])
    wanted = {name: value for name, value in asdict(extension).items() if value is not None}
    has = {"trials": plan["n_trials"], "repeats": plan["repeats"]}
    n_levels = len(description["levels"])
    more = False
    for name, value in wanted.items():
        planned = n_levels * -(-value // n_levels) if name == "trials" else value
        if planned < has[name]:
            raise InputError(f"--{name} {value}: the study has {has[name]} already")
        more |= planned > has[name]
    if "finished" in description and not more:
        raise InputError(f"{folder.path}: this study is finished; more --trials or --repeats extend it")
    return replace(arguments, **wanted)


def profile_of(description: Mapping[str, Any], space: Space) -> Profile | None:
    """The profile that a study was planned with; None if its space has it no more."""
    planned = description["plan"]["profile"]
    profiles = (space.paper, *space.quick)
    return next((profile for profile in profiles if as_json(asdict(profile)) == planned), None)


def refuse(folder: StudyFolder, changes: Sequence[str], *, force: bool) -> None:
    """Raise InputError for changes since the study began, unless they are forced."""
    if changes and not force:
        raise InputError(f"{folder.path}: {'; '.join(changes)}; --force goes on all the same")


def other_images(description: Mapping[str, Any], images: ImageSet | None) -> bool:
    """Whether images are not those that the study began with."""
    if images is None:
        return False
    known = description["data"].get(images.source)
    return known is None or known["fingerprint"] != images.fingerprint


def begin_unfinished_anew(folder: StudyFolder, ledger: Ledger) -> None:
    """Drop the state of whatever was under way, and have Optuna's journal made again from the trials on record."""
    folder.checkpoints.clear()
    folder.optuna_journal.unlink(missing_ok=True)
    ended = set(ledger.read("trials")["number"].to_pylist())
    rows = ledger.read("epochs").select(["phase", "number", "level", "data"]).to_pylist()
    begun = {(row["number"], row["level"], row["data"]) for row in rows if row["phase"] == "search"}
    for number, level, data in begun:
        if number not in ended:
            ledger.forget(Key(phase="search", number=number, level=level, data=data))


def as_json(value: Any) -> Any:
    """A value as it comes back from a JSON file."""
    return json.loads(json.dumps(value, default=str))


def reopen(folder: StudyFolder, description: Mapping[str, Any], changes: Sequence[str]) -> None:
    """Have every phase looked at again, for what an extension or a forced change has left to do."""
    folder.description.pop("finished", None)
    forced = [*folder.description.get("forced", []), *changes]
    folder.update(**description, phases_done=[], **({"forced": forced} if forced else {}))
