"""Whether the splits of a study are possible: the audit asks as the study does, given parts included."""

from dataclasses import replace

from drawn_cells import draw_cells

from search.audit.counts import split_findings
from search.audit.finding import Weight
from search.audit.reading import read_photos
from search.data.folder import open_folder


def photos_with(tmp_path, parts):
    source = open_folder(draw_cells(tmp_path / "cells", per_class=6))
    names = source.listing.names
    given = tuple(parts[k % len(parts)] for k in range(len(names)))
    return read_photos([replace(source, listing=replace(source.listing, parts=given))], ["cells"]), given


def test_a_given_test_set_is_the_one_that_is_counted(tmp_path):
    photos, given = photos_with(tmp_path, ("train", "test", "train"))
    (finding,) = split_findings(photos, 2, seed=0)
    assert f"{given.count('test')} images for a test set and 2 folds of {given.count('train')}" in finding.title


def test_given_folds_replace_those_that_were_asked_for(tmp_path):
    photos, _ = photos_with(tmp_path, ("fold 1", "fold 2"))
    (finding,) = split_findings(photos, 99, seed=0)
    assert finding.weight is not Weight.PROBLEM
    assert "2 folds" in finding.title
