"""The status of an unfinished study: what is done, what is not, and how to resume it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from search.records.results import Results
from search.records.schema import Phase


@dataclass(frozen=True, kw_only=True)
class PhaseStatus:
    """A phase of the plan, with `done` of at most `planned` trials or trainings."""

    name: str
    state: str
    done: int
    planned: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """An unfinished study's status.

    Attributes:
        headline: how far the study got.
        decided: what can be said so far.
        resume: the command that resumes it.
    """

    headline: str
    decided: str
    phases: Sequence[PhaseStatus]
    resume: str


def status(results: Results) -> Status | None:
    """Say how far a study got; None if it is finished."""
    description = results.description
    if description.finished is not None:
        return None
    phases = [_phase(results, phase.name, phase.trainings) for phase in description.plan.phases]
    current = next((phase for phase in phases if phase.state != "done"), None)
    headline = "This study is not finished"
    if current is not None:
        amount = f"{current.done} of {current.planned}" if current.done else "no"
        headline += f": phase {current.name}, {amount} {current.unit} done"
    return Status(
        headline=f"{headline}.",
        decided=_decided(results),
        phases=phases,
        resume=f"python -m search.run --resume {shlex.quote(str(results.path))}",
    )


def _phase(results: Results, name: str, trainings: int) -> PhaseStatus:
    if name == Phase.SEARCH:
        done, planned, unit = len(results.trials), results.description.plan.n_trials, "trials"
    else:
        done, planned, unit = int((results.folds["phase"] == name).sum()), trainings, "trainings"
    state = "done" if name in results.description.phases_done else "incomplete" if done else "not started"
    return PhaseStatus(name=name, state=state, done=done, planned=max(planned, done), unit=unit)


def _decided(results: Results) -> str:
    if Phase.COMPARE in results.description.phases_done:
        return "The comparison below is complete; later phases are not, so this is not the final result."
    if results.winner is not None:
        return "Nothing is decided: the comparison below is from an earlier state of the study and may change."
    return (
        "Nothing is decided: levels are compared only after the search, on folds of their own. The best values of "
        "the search are the best of many tries, so they are too optimistic."
    )
