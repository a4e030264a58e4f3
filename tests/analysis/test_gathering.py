import numpy as np
import pandas as pd
import pytest

from search.analysis.gathering import gather
from search.analysis.measures import MEASURES

LEVELS, CLASSES = ("a", "b", "c"), ("x", "y", "z")


def make_rows(*, n_images=12, runs=((0, 0), (1, 0), (0, 1)), levels=LEVELS, seed=0):
    """Rows of the predictions table."""
    rng = np.random.default_rng(seed)
    labels = np.array(CLASSES)[np.arange(n_images) % 3]
    parts = []
    for setting, repeat in runs:
        folds = rng.permutation(n_images) % 4
        for level in levels:
            shares = rng.dirichlet(np.ones(3), n_images)
            part = pd.DataFrame(
                {"level": level, "setting": setting, "repeat": repeat, "fold": folds, "label": labels}
            )
            part["image"] = [f"{name}/{i:02d}" for i, name in enumerate(labels)]
            parts.append(part.join(pd.DataFrame(shares, columns=[f"probability_{name}" for name in CLASSES])))
    return pd.concat(parts, ignore_index=True)


def test_every_prediction_is_where_its_run_level_and_image_say():
    rows = make_rows()
    gathered = gather(rows.sample(frac=1, random_state=0), LEVELS, CLASSES)
    assert gathered.runs == ((0, 0), (1, 0), (0, 1))  # by repeat, then setting
    assert gathered.settings.tolist() == [0, 1, 0]
    images = sorted(rows["image"].unique())
    for row in rows.sample(20, random_state=1).to_dict("records"):
        run, image = gathered.runs.index((row["setting"], row["repeat"])), images.index(row["image"])
        found = gathered.probabilities[run, LEVELS.index(row["level"]), image]
        assert found.tolist() == [row[f"probability_{name}"] for name in CLASSES]
        assert gathered.folds[run, image] == row["fold"]
        assert CLASSES[gathered.labels[image]] == row["label"]


def test_groups_are_those_of_the_images():
    groups = {image: f"patient {image[-1]}" for image in make_rows()["image"]}
    gathered = gather(make_rows(), LEVELS, CLASSES, groups)
    same = gathered.groups[:, None] == gathered.groups[None, :]
    names = [groups[image] for image in sorted(groups)]
    assert (same == np.array([[one == other for other in names] for one in names])).all()


@pytest.mark.parametrize("gone", ["a whole run", "one image"])
def test_a_level_without_all_runs_is_missing(gone):
    rows = make_rows()
    lost = (rows["level"] == "b") & (rows["setting"] == 1)
    if gone == "one image":
        lost &= rows["image"].str.endswith("07")
    gathered = gather(rows[~lost], LEVELS, CLASSES)
    assert (gathered.levels, gathered.missing) == (("a", "c"), ("b",))
    assert gathered.probabilities.shape[1] == 2


def test_settings_may_be_null_and_runs_can_be_chosen():
    rows = make_rows(runs=((0, 0), (0, 1)))
    gathered = gather(rows.assign(setting=None), LEVELS, CLASSES)
    assert gathered.runs == ((-1, 0), (-1, 1))
    second = gathered.of_runs(np.array([1]))
    assert second.runs == ((-1, 1),)
    accuracy = MEASURES["accuracy"]
    assert (second.scores(accuracy).values[0] == gathered.scores(accuracy).values[1]).all()
