"""The data sets of an audit: their names, and what a study would refuse of them."""

from collections import Counter
from pathlib import Path

import numpy as np

from search.audit.photos import Photos
from search.common.errors import InputError
from search.data.imageset import Source
from search.data.loading import contradictions, copies_of


def refuse_as_a_study_would(photos: Photos, sources: list[Source]) -> None:
    """Raise InputError for identical images with two labels or in two given parts."""
    for number, source in enumerate(sources):
        places = np.flatnonzero(photos.source == number)
        digests = {k: photos.pixel_digests[place] for k, place in enumerate(places) if photos.readable[place]}
        reasons = contradictions(Path(source.listing.source), source.listing, copies_of(digests))
        if reasons:
            raise InputError(
                f"a study refuses this: {next(iter(reasons.values()))}; --skip-bad leaves such images out"
            )


def names_of(folders: list[str], sources: list[Source]) -> list[str]:
    """Names of the data sets, all different."""
    names = [source.listing.source for source in sources]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    names = [folder if name in repeated else name for folder, name in zip(folders, names, strict=True)]
    if len(set(names)) < len(names):
        raise InputError(f"{Counter(names).most_common(1)[0][0]}: given twice")
    return names
