"""Pictures across given parts, and given groups."""

import dataclasses

import numpy as np
import pytest
from drawn_cells import KINDS, draw_cells, drawn_cell

from search.audit.audit import audit
from search.audit.groups import groups_text
from search.audit.reading import read_photos
from search.data.folder import FolderSource, open_folder

COPY = f"{KINDS[0]}/copy.png"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = draw_cells(tmp_path_factory.mktemp("data") / "cells", per_class=6)
    drawn_cell(2, KINDS[0]).save(folder / COPY)
    return open_folder(folder)


def audited(source, **changed):
    listing = dataclasses.replace(source.listing, **changed)
    changed_source = FolderSource(folder=source.folder, listing=listing)
    return audit(read_photos([changed_source], ["cells"]), 2, seed=0)


def kinds(found):
    return {finding.kind for finding in found.findings}


def test_a_picture_in_two_parts_of_a_given_split(source):
    names = source.listing.names
    one = audited(source, parts=("train",) * len(names))
    assert "identical" in kinds(one)
    assert "crosses_split" not in kinds(one)
    two = audited(source, parts=tuple("test" if name == COPY else "train" for name in names))
    assert "crosses_split" in kinds(two)
    assert two.findings[0].weight == "problem"


def test_given_groups_are_merged_by_pictures_that_they_share(source):
    names = source.listing.names
    groups = np.arange(len(names)) // 2
    rows = dict(line.rsplit(",", 1) for line in groups_text(audited(source, groups=groups)).splitlines()[1:])
    for first, second in zip(range(0, len(names), 2), range(1, len(names), 2), strict=False):
        assert rows[names[first]] == rows[names[second]]
    assert rows[COPY] == rows[f"{KINDS[0]}/02.png"]
    assert len(set(rows.values())) == len(set(groups.tolist())) - 1


def test_reports_progress_of_every_image(source):
    steps = []
    photos = read_photos([source], ["cells"], on_read=steps.append)
    assert len(steps) == len(photos.names) == len(source.listing.names)
