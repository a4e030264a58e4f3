import pytest

from search.data.classes import class_notes, shared_classes

OWN = {"a": 3, "b": 2, "c": 1, "unused": 0}


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({"c": 1, "a": 1}, ["a", "c"]),
        ({"a": 1, "b": 0, "x": 5}, []),  # one class in common tells nothing
        ({"unused": 4, "a": 1, "b": 1}, ["a", "b"]),
        ({}, []),
    ],
)
def test_classes_with_images_in_both_are_shared_in_the_order_of_the_first(other, shared):
    assert shared_classes(OWN, other) == shared


def test_notes_name_what_only_one_of_them_has():
    assert class_notes("s", {"a": 1, "b": 1}, "t", {"b": 2, "a": 2}) == []
    lacking, missing = class_notes("s", OWN, "t", {"a": 1, "c": 1, "x": 2})
    assert "x" in lacking.split()[4].split(",")[0]
    assert "no b:" in missing
    assert len(class_notes("s", OWN, "t", {"x": 1})) == 1
