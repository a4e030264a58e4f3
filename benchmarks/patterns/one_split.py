"""Search phase on one split instead of its folds, with workers that write events."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import search.tuning.tune
from benchmarks.patterns.workload import Images, Workload
from benchmarks.studies import image_set, study_of
from search.data.splits import Split
from search.study.context import Study
from search.study.searching import Search
from search.study.session import Session
from search.tuning.tune import TrialWorker


@dataclass(kw_only=True)
class OneSplitStudy(Study):
    """Study in which every partition is the one split that all patterns train on."""

    split: Split

    def partition(self, *given: Any, **named: Any) -> list[Split]:
        """Return the one split."""
        return [self.split]


def search_one_split(session: Session, workload: Workload, images: Images) -> None:
    """Run the search phase in a study's folder and write events."""
    classes = tuple(f"class {k}" for k in range(workload.n_classes))
    source = image_set(images.pixels, images.labels, classes)
    split = Split(train=images.train, val=images.val)
    study = study_of(OneSplitStudy, session, source, workload.folder / "study", split=split)
    study.share_images()
    search.tuning.tune.TrialWorker = timed_worker(workload)  # type: ignore[misc]
    Search(study).run()
    study.ledger.close()


def timed_worker(workload: Workload) -> type[TrialWorker]:
    """Worker class of the search that also writes events."""

    class TimedWorker(TrialWorker):
        def setup(self, config: dict[str, Any], *given: Any, **shared: Any) -> None:
            import search.training.folds as trial  # imports torch, which the driver does not wait for

            self._fit = trial.fit
            trial.fit = self._timed_fit
            super().setup(config, *given, **shared)

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

    return TimedWorker
