"""The network of the reference study, which comes with the project."""

from pathlib import Path

import numpy as np

import search
from search.common.metrics import at_temperature
from search.report.figures.example_images import read_pixels

STUDY = Path(__file__).parents[2] / "results" / "residual_placement-pbc2172-lisc255"


def test_it_classifies_its_test_images_as_the_study_did():
    study = search.open(STUDY)
    cells = study.results.tables["cells"]
    cells = cells.loc[cells["phase"] == "test", ["image", "png"]]
    tested = cells.merge(study.predictions.query("phase == 'test'"), on="image")
    found = study.predict([read_pixels(png) for png in tested["png"]])
    assert len(found) == len(cells) > 5
    assert list(found["predicted"]) == list(tested["predicted"])
    names = [f"probability_{name}" for name in study.trained.classes]
    expected = at_temperature(tested[names].to_numpy(), study.trained.temperature)
    np.testing.assert_allclose(found[names], expected, atol=0.05)
