"""How far a study came: what is done, what was under way, and how to go on."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from search.records.results import Results


@dataclass(frozen=True, kw_only=True)
class PhaseProgress:
    """A phase of the plan; `done` of at most `planned` trials or trainings."""

    name: str
    state: str
    done: int
    planned: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Of a study that is not finished.

    Attributes:
        headline: how far it came.
        decided: what can be said by now.
    """

    headline: str
    decided: str
    phases: Sequence[PhaseProgress]
    resume: str


def progress(results: Results) -> Progress | None:
    """Say how far a study came; None for a finished one."""
    description = results.description
    if description.get("finished"):
        return None
    phases = [_phase(results, phase["name"], phase["trainings"]) for phase in description["plan"]["phases"]]
    done = [phase.name for phase in phases if phase.state == "done"]
    current = next((phase for phase in phases if phase.state != "done"), None)
    headline = "This study has not finished"
    if current is not None and current.done:
        headline += (
            f": it was in its phase {current.name}, with {current.done} of {current.planned} {current.unit}"
        )
    elif current is not None:
        headline += f": its phase {current.name} has no finished {current.unit.removesuffix('s')} yet"
    return Progress(
        headline=f"{headline}.",
        decided=_decided(results, done),
        phases=phases,
        resume=f"python -m search.run --resume {shlex.quote(str(results.path))}",
    )


def _phase(results: Results, name: str, trainings: int) -> PhaseProgress:
    if name == "search":
        done, planned, unit = len(results.trials), results.description["plan"]["n_trials"], "trials"
    else:
        rows = results.folds
        done, planned, unit = int((rows["phase"] == name).sum()) if len(rows) else 0, trainings, "trainings"
    finished = name in results.description["phases_done"]
    state = "done" if finished else "under way" if done else "not begun"
    return PhaseProgress(name=name, state=state, done=done, planned=max(planned, done), unit=unit)


def _decided(results: Results, done: Sequence[str]) -> str:
    if "compare" in done:
        return (
            "The comparison is done and stands below; what comes after it is not, so this is not yet the result."
        )
    if len(results.comparison):
        return "Nothing is decided: the comparison below is of an earlier state of the study and may change."
    return (
        "Nothing is decided yet: levels are compared only after the search, on folds of their own. What the "
        "search has found so far is chosen from many tries and therefore flatters itself."
    )
