"""The phases of a study in order: search, confirm, compare, test, transfer.

Each resumes where an earlier run stopped.
"""

from collections.abc import Callable

import numpy as np

from search.data.splits import small_class_warnings
from search.records.schema import Phase
from search.records.studyfolder import now
from search.study.comparing import candidates, compare, expect_winner, winner
from search.study.confirming import confirm
from search.study.context import Study
from search.study.features import keep_features
from search.study.plan import search_partition
from search.study.searching import search
from search.study.transferring import test, transfer
from search.study.untouched import shift_rows


def run_study(study: Study) -> None:
    """Run every phase that is not done, and write complete tables.

    Raises:
        StudyFailedError: the study failed.
    """
    study.share_images()
    _run_phase(study, Phase.SEARCH, lambda: search(study))
    if study.plan.finalists > 1:
        _run_phase(study, Phase.CONFIRM, lambda: confirm(study))
    _run_phase(study, Phase.COMPARE, lambda: _compare(study))
    best = winner(study)
    expect_winner(study, [best])
    _run_phase(study, Phase.TEST, lambda: test(study, best))
    target = study.target
    if target is not None:
        _run_phase(study, Phase.TRANSFER, lambda: transfer(study, best, target))
    study.folder.update(finished=now())


def _compare(study: Study) -> None:
    compare(study)
    study.ledger.replace("shift", shift_rows(study))
    keep_features(study, candidates(study))


def small_classes(study: Study) -> list[str]:
    """Warnings about classes of source or target that have too few images for the folds."""
    plan = study.plan
    most_folds = max(search_partition(plan.search_folds, shared=plan.shares_settings), plan.folds)
    source, target = study.source, study.target
    lines = small_class_warnings(source.classes, source.labels, study.development, most_folds)
    if target is not None:
        everything = np.arange(len(target.labels))
        for line in small_class_warnings(target.classes, target.labels, everything, most_folds):
            lines.append(f"{target.source}: {line}")
    return lines


def _run_phase(study: Study, name: str, run: Callable[[], None]) -> None:
    if not study.folder.is_done(name):
        run()
        study.ledger.flush()
        study.checkpoints.clear()
        study.folder.finish(name)
    study.reporter.clock.finish(name)
    study.reporter.refresh()
