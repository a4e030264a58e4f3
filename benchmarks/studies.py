"""Studies on images in memory, for benchmarks that run some of their phases."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from search.common.console import ProgressReporter
from search.data.imageset import ImageSet
from search.records.ledger import Ledger
from search.records.observers import Observers
from search.records.studyfolder import StudyFolder
from search.study.context import Study
from search.study.forecast import clock_of
from search.study.session import Session
from search.tuning.pool import Workers

Kind = TypeVar("Kind", bound=Study)


def image_set(pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...]) -> ImageSet:
    """Image set of pixels with shape (n, side, side, 3), named by number."""
    names = tuple(map(str, range(len(labels))))
    pixels_by_side = {pixels.shape[1]: pixels}
    return ImageSet(
        source="images", classes=classes, names=names, labels=labels, pixels=pixels_by_side, fingerprint=""
    )


def study_of(kind: type[Kind], session: Session, images: ImageSet, path: Path, **more: Any) -> Kind:
    """Study in a new folder that searches on all images and holds out none."""
    (pixels,) = images.pixels.values()
    clock = clock_of(session.plan, slots=session.cluster.slots)
    folder, reporter = StudyFolder.create(path, {}), ProgressReporter(session.console, clock)
    return kind(
        arguments=session.arguments,
        space=session.space,
        plan=session.plan,
        source=images,
        target=None,
        development=np.arange(len(images.labels)),
        locked=np.arange(0),
        folder=folder,
        ledger=Ledger(folder.path),
        cluster=session.cluster,
        reporter=reporter,
        workers=Workers(session.cluster),
        photograph=lambda name: pixels[int(name)],
        observers=Observers((), reporter.note),
        **more,
    )
