"""The search phase on one split instead of its folds, with workers that leave events."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import search.tuning.tune
from benchmarks.patterns.workload import Images, Workload
from search.console import Reporter
from search.data.imageset import ImageSet
from search.data.splits import Split
from search.opening import Session
from search.phases.context import Study
from search.phases.searching import Search
from search.studyfolder import StudyFolder
from search.tables import Ledger
from search.tuning.jobs import Workers


@dataclass(kw_only=True)
class OneSplitStudy(Study):
    """A study whose every partition is the one split that all patterns train on."""

    split: Split

    def partition(self, *given: Any, **named: Any) -> list[Split]:
        """The one split."""
        return [self.split]


def search_one_split(session: Session, workload: Workload, images: Images) -> None:
    """Run the search phase in a study's folder, and leave events."""
    source = ImageSet(
        source="images",
        classes=tuple(f"class {k}" for k in range(workload.n_classes)),
        names=tuple(map(str, range(len(images.labels)))),
        labels=images.labels,
        pixels={workload.side: images.pixels},
        fingerprint="",
    )
    folder = StudyFolder.create(workload.folder / "study", {})
    study = OneSplitStudy(
        arguments=session.arguments,
        space=session.space,
        plan=session.plan,
        source=source,
        target=None,
        development=np.arange(len(images.labels)),
        locked=np.arange(0),
        folder=folder,
        ledger=Ledger(folder.path),
        cluster=session.cluster,
        reporter=Reporter(session.console, session.plan.cost),
        workers=Workers(session.cluster),
        split=Split(train=images.train, val=images.val),
    )
    study.share_images()
    search.tuning.tune.TrialActor = timed_actor(workload)  # type: ignore[misc]
    Search(study).run()
    study.ledger.close()


def timed_actor(workload: Workload) -> type:
    """The search's worker, which leaves events as well."""

    class TimedActor(search.tuning.tune.TrialActor):
        def setup(self, config: dict[str, Any], **shared: Any) -> None:
            import search.trial as trial  # imports torch, for which the driver does not wait

            self._fit = trial.fit
            trial.fit = self._timed_fit
            super().setup(config, **shared)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._trial = new_config["number"]
            return super().reset_config(new_config)

        def step(self) -> dict[str, Any]:
            result = super().step()
            if "step" in result:
                workload.record(self._trial, self._epoch.epoch, self._ended - self._epoch.train_s, self._ended)
            return result

        def _timed_fit(self, *given: Any, **named: Any) -> Iterator[Any]:
            for epoch in self._fit(*given, **named):
                self._epoch, self._ended = epoch, time.time()
                yield epoch

    return TimedActor
