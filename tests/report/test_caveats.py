"""What a page says against its own numbers."""

from types import SimpleNamespace

import pytest

from search.report.page.caveats import FEW_IMAGES, caveats, is_drawn


def images(grouped=True, **classes):
    counts = classes or {"basophil": 100, "neutrophil": 400}
    return {"n_images": sum(counts.values()), "classes": counts, "grouped": grouped}


def plan(**changes):
    profile = {"width": 0.25, "epochs": 12}
    usual = {"search_folds": 3, "folds": 10, "repeats": 2, "profile_name": "paper", "profile": profile}
    return {**usual, **changes}


def said(**description):
    usual = {"plan": plan(), "data": {"cells": images()}, "finished": "2026-11-24T08:41:00+00:00"}
    return caveats(SimpleNamespace(description={**usual, **description}))


def test_every_study_has_its_limits():
    always = said()
    assert len(always) == 2
    assert always[0].startswith("The comparison's folds are another partition")
    assert always[1].startswith("The intervals know")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {"synthetic": images()}}, "drawn by this program"),
        ({"data": {"cells": images(), "synthetic-2": images()}}, "drawn by this program"),
        ({"finished": None}, "interrupted or still runs"),
        ({"forced": ["torch is 3 and was 2"]}, "by force although torch is 3 and was 2."),
        ({"data": {"cells": images(grouped=False)}}, "No groups were given for cells:"),
        ({"data": {"a": images(False), "b": images(), "c": images(False)}}, "No groups were given for a and c:"),
        ({"test_scored": 2}, "scored 2 times"),
        ({"plan": plan(repeats=1)}, "--repeats"),
        ({"plan": plan(profile_name="quick")}, "0.25 times the paper's width for 12 epochs"),
    ],
)
def test_what_a_study_lacks_is_one_line_more(changes, says):
    usual, lines = said(), said(**changes)
    more = [line for line in lines if line not in usual]
    assert len(more) == 1
    assert says in more[0]
    assert [line for line in lines if line in usual] == usual


def test_the_gravest_come_first():
    lines = said(
        data={"synthetic": images(basophil=20, neutrophil=400)}, finished=None, forced=["its code is another"]
    )
    words = ["drawn", "interrupted", "force", "few images", "partition"]
    assert all(word in line for word, line in zip(words, lines, strict=False))


@pytest.mark.parametrize("n", [5, 20, 29, 36, 37, 38, 60])
def test_small_classes_are_those_that_one_cell_moves(n):
    """Of the first data set a fifth is the test set's."""
    lines = [line for line in said(data={"cells": images(rare=n, common=400)}) if "few images" in line]
    left = round(0.8 * n)
    assert len(lines) == (left < FEW_IMAGES)
    if lines:
        assert f"cells has few images outside the test set of rare (n = {left}): " in lines[0]
        assert "of this class" in lines[0]


def test_the_second_data_set_is_counted_whole_and_more_classes_are_many():
    lines = said(data={"cells": images(), "others": images(a=29, b=28, c=30)})
    few = [line for line in lines if "few images" in line]
    assert len(few) == 1
    assert "others has few images of a (n = 29) and b (n = 28): " in few[0]
    assert "of these classes" in few[0]


def test_fewer_images_than_folds_are_named_as_such():
    lines = said(data={"cells": images(rare=10, scarce=11, common=400)}, plan=plan(folds=9))
    assert "Of rare there are fewer images than 9 folds: some folds validate none." in lines
    assert not any("fewer" in line for line in said(data={"cells": images(rare=13, common=400)}))
    many = said(data={"cells": images(rare=60, common=400)}, plan=plan(search_folds=50))
    assert any("Of rare there are fewer images than 50 folds" in line for line in many)


def test_drawn_cells_are_known_by_the_name_of_their_data():
    assert is_drawn({"synthetic": {}})
    assert is_drawn(["cells", "synthetic-2"])
    assert not is_drawn(["cells", "my synthetic cells"])
