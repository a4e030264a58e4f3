"""Given test sets and folds: obeyed, and refused where a study could tell nothing."""

import numpy as np
import pytest

from search.common.errors import InputError
from search.data.given import (
    comparison_folds,
    example_rows,
    locked_test_set,
    n_comparison_folds,
    require_agreement,
    unlearnable_classes,
)
from search.data.imageset import Listing


def listing_of(labels: list[int], classes: tuple[str, ...] = ("a", "b", "c"), **options: object) -> Listing:
    names = tuple(f"{number}.png" for number in range(len(labels)))
    return Listing(source="cells", classes=classes, names=names, labels=np.array(labels), **options)


def test_a_given_test_set_is_locked():
    parts = ("train", "val", "test") * 6
    split = locked_test_set(listing_of([0, 0, 0, 1, 1, 1] * 3, parts=parts), seed=3)
    assert [parts[index] for index in split.val] == ["test"] * 6
    assert sorted([*split.train, *split.val]) == list(range(18))


def test_without_a_given_one_the_test_set_depends_on_the_seed():
    listing = listing_of([0, 1, 2] * 10)
    first, second = (locked_test_set(listing, seed) for seed in (0, 1))
    assert len(first.val) == len(second.val) == 6
    assert first.val.tolist() != second.val.tolist()


@pytest.mark.parametrize(
    ("labels", "options", "culprit"),
    [
        ([0, 1, 0, 1], {}, "4"),
        ([0, 1, 0, 1], {"parts": ("train", "train", "test", "train")}, "test"),
        ([0, 1, 1, 0], {"parts": ("train", "test") * 2, "groups": np.array([0, 0, 1, 2])}, "0.png"),
    ],
)
def test_test_sets_that_cannot_be_locked_are_refused(labels, options, culprit):
    with pytest.raises(InputError, match=culprit):
        locked_test_set(listing_of(labels, **options), seed=0)


@pytest.mark.parametrize("given", ["parts", "fold_names"])
def test_given_folds_are_those_of_the_comparison(given):
    names = ("one", "two", "three") * 4
    listing = listing_of([0, 1, 0, 1] * 3, **{given: names})
    assert n_comparison_folds(listing, 10) == 3
    among = np.arange(10)
    splits = comparison_folds(listing, 10, seed=0, among=among)
    assert len(splits) == 3
    assert sorted(np.concatenate([split.val for split in splits])) == among.tolist()
    for split in splits:
        assert len({names[index] for index in split.val}) == 1
        assert not {names[index] for index in split.val} & {names[index] for index in split.train}


def test_a_group_never_crosses_a_given_fold():
    listing = listing_of([0, 1] * 4, fold_names=("x", "y") * 4, groups=np.array([0, 0, 1, 2, 3, 4, 5, 6]))
    for split in comparison_folds(listing, 2, seed=0, among=np.arange(8)):
        assert not set(listing.groups[split.train]) & set(listing.groups[split.val])


def test_train_and_val_are_no_folds():
    assert n_comparison_folds(listing_of([0, 1] * 3, parts=("train", "val", "test") * 2), 7) == 7


@pytest.mark.parametrize("names", [("only",) * 4, ("fold 1", "train") * 2])
def test_folds_that_mean_nothing_are_refused(names):
    with pytest.raises(InputError, match=names[0]):
        n_comparison_folds(listing_of([0, 1] * 2, parts=names), 10)


def test_groups_that_are_the_classes_are_refused():
    labels = [0, 0, 1, 1, 2, 2]
    for options in ({"groups": np.array(labels)}, {"fold_names": tuple(map(str, labels))}):
        with pytest.raises(InputError, match="a, b, c"):
            unlearnable_classes(listing_of(labels, **options))
    (note,) = unlearnable_classes(listing_of(labels, groups=np.array([0, 1, 2, 3, 4, 4])))
    assert "c" in note
    assert unlearnable_classes(listing_of(labels)) == []


def test_a_target_without_a_class_of_the_source_is_refused():
    source = listing_of([0, 1, 2])
    require_agreement(source, listing_of([0, 1], classes=("b", "d")))
    with pytest.raises(InputError, match=r"--class-names 1=.*,2="):
        require_agreement(source, listing_of([0, 1], classes=("1", "2")))


def test_example_rows_show_what_is_known():
    rows = example_rows(listing_of([0, 1, 2] * 5, fold_names=("lab",) * 15))
    assert len(rows) == 5
    assert rows[0] == ("0.png", "a", "lab")
    assert len(example_rows(listing_of([0, 1]))) == 2
