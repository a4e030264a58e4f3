"""Progress and time left, from work that is planned by phase and kind, and from the speed at which it is done.

Work has any unit that is proportional to time within a kind, such as multiply-accumulates of one network. How
long a unit takes is measured for each kind, because a large network may be ten times as fast as a small one, and
in each phase, because trainings of a kind differ between phases.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

ByKind = defaultdict[str, float]

# Before this share is done, a time would be a guess.
LEAST_SHARE = 0.03
# The expected share of a phase's work that is needed counts as much as this share of its work.
PRIOR = 0.1
# After so many seconds of a kind in a phase, its speed there counts as much as its speed in all phases.
SPEED_PRIOR_S = 20.0
# After so many seconds of every slot, the measured waiting counts as much as the assumption that no slot waits.
BUSY_PRIOR_S = 150.0


@dataclass
class _Phase:
    """Work of a phase by kind.

    Attributes:
        planned: as far as is known.
        needed: share of it that is expected to be needed.
        slots: trainings side by side, at most.
        spent_s: seconds that the work done in this run took, summed over slots.
        before: done in an earlier run.
    """

    planned: dict[str, float]
    needed: float
    slots: int
    worked: ByKind = field(default_factory=lambda: defaultdict(float))
    spent_s: ByKind = field(default_factory=lambda: defaultdict(float))
    saved: ByKind = field(default_factory=lambda: defaultdict(float))
    before: ByKind = field(default_factory=lambda: defaultdict(float))
    finished: bool = False

    @property
    def begun(self) -> bool:
        """Whether any of its work is done, or turned out to be unnecessary."""
        return any(sum(work.values()) > 0 for work in (self.worked, self.saved, self.before))

    def done(self) -> dict[str, float]:
        """Work by kind that is done, in this run or an earlier one."""
        return {
            kind: self.worked.get(kind, 0.0) + self.before.get(kind, 0.0)
            for kind in {**self.worked, **self.before}
        }

    def left(self) -> dict[str, float]:
        """Work by kind that is expected."""
        if self.finished:
            return {}
        done = self.done()
        prior, n_done, n_saved = (sum(work.values()) for work in (self.planned, done, self.saved))
        prior *= PRIOR
        total = prior + n_done + n_saved
        needed = (prior * self.needed + n_done) / total if total else 1.0
        return {
            kind: needed * max(0.0, work - done.get(kind, 0.0) - self.saved.get(kind, 0.0))
            for kind, work in self.planned.items()
        }


class Clock:
    """Counts work, and estimates what is left.

    Args:
        planned: phase -> kind -> work, at most.
        needed: phase -> share of its work that is expected to be needed; by default all.
        speeds: kind -> units of work per second, as far as known before anything is done.
        slots: phase -> trainings that run side by side; by default one.
        after_s: seconds that follow the last phase.
    """

    def __init__(
        self,
        planned: Mapping[str, Mapping[str, float]],
        needed: Mapping[str, float] | None = None,
        speeds: Mapping[str, float] | None = None,
        *,
        slots: Mapping[str, int] | None = None,
        after_s: float = 0.0,
    ) -> None:
        shares, self._after_s = needed or {}, after_s
        self._phases = {
            name: _Phase(planned=dict(work), needed=shares.get(name, 1.0), slots=(slots or {}).get(name, 1))
            for name, work in planned.items()
        }
        self._known_s = {kind: 1 / speed for kind, speed in (speeds or {}).items()}
        self._work: ByKind = defaultdict(float)
        self._spent_s: ByKind = defaultdict(float)
        self._started: float | None = None

    def expect(self, phase: str, planned: Mapping[str, float]) -> None:
        """Replace the planned work of a phase by a better guess, all of it needed; ignored once it has begun."""
        found = self._phases[phase]
        if not found.begun:
            found.planned, found.needed = dict(planned), 1.0

    def worked(self, phase: str, kind: str, work: float, seconds: float) -> None:
        """Count work that took some seconds, of one of the trainings that run side by side."""
        if self._started is None:
            self._started = time.monotonic() - seconds
        found = self._phases[phase]
        found.worked[kind] += work
        found.spent_s[kind] += seconds
        self._work[kind] += work
        self._spent_s[kind] += seconds

    def saved(self, phase: str, kind: str, work: float) -> None:
        """Count work that turned out to be unnecessary."""
        self._phases[phase].saved[kind] += work

    def done_before(self, phase: str, kind: str, work: float) -> None:
        """Count work of an earlier run."""
        self._phases[phase].before[kind] += work

    def finish(self, phase: str) -> None:
        """End a phase, in this run or an earlier one; what was not done of it is not needed."""
        found = self._phases[phase]
        if not found.done():
            found.before.update(found.left())
        found.finished = True

    @property
    def share(self) -> float:
        """Share of the phases' time that is behind, 0 to 1."""
        done = sum(self._wall_s(phase, phase.done()) for phase in self._phases.values())
        whole = done + self._left_s()
        return done / whole if whole else 1.0

    def left_s(self) -> float | None:
        """Seconds to the end; None before enough is done to tell."""
        if self._started is None or not sum(self._spent_s.values()) or self.share < LEAST_SHARE:
            return None
        return self._left_s() + self._after_s

    def _left_s(self) -> float:
        """Wall-clock seconds to the end of the last phase."""
        return sum(self._wall_s(phase, phase.left()) for phase in self._phases.values())

    def _wall_s(self, phase: _Phase, work: Mapping[str, float]) -> float:
        """Wall-clock seconds of a phase's work, spread over its slots."""
        spent_s = sum(amount * self._unit_s(phase, kind) for kind, amount in work.items())
        return self._stretch * spent_s / phase.slots

    @property
    def _stretch(self) -> float:
        """Wall time over what it would be if no slot ever waited; near 1 until enough is measured."""
        if self._started is None:
            return 1.0
        slots = max(phase.slots for phase in self._phases.values())
        measured_s, prior_s = (time.monotonic() - self._started) * slots, BUSY_PRIOR_S * slots
        return (measured_s + prior_s) / (sum(self._spent_s.values()) + prior_s)

    def _unit_s(self, phase: _Phase, kind: str) -> float:
        """Seconds of a unit of work, from all phases and, the more it is measured, from this one."""
        everywhere = self._mean_unit_s(kind)
        if not everywhere:
            return 0.0
        spent_s, worked = phase.spent_s.get(kind, 0.0), phase.worked.get(kind, 0.0)
        return (spent_s + SPEED_PRIOR_S) / (worked + SPEED_PRIOR_S / everywhere)

    def _mean_unit_s(self, kind: str) -> float:
        """Seconds of a unit of work: as measured, else as known before, corrected by what is measured."""
        if self._work.get(kind):
            return self._spent_s[kind] / self._work[kind]
        measured = [(self._spent_s[each], self._work[each], self._known_s.get(each)) for each in self._work]
        if kind in self._known_s:
            compared = [(seconds, work * known) for seconds, work, known in measured if known is not None]
            expected = sum(known for _, known in compared)
            return self._known_s[kind] * (sum(seconds for seconds, _ in compared) / expected if expected else 1.0)
        work = sum(work for _, work, _ in measured)
        if work:
            return sum(seconds for seconds, _, _ in measured) / work
        return sum(self._known_s.values()) / len(self._known_s) if self._known_s else 1.0
