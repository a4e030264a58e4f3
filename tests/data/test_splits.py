import numpy as np
import pytest

from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.data.splits import hold_out, small_class_warnings, stratified_folds


def random_labels(seed):
    """Labels with two classes large enough for 10 folds and some of any size, a few of them tiny."""
    rng = np.random.default_rng(seed)
    sizes = [*rng.integers(10, 60, 2), *rng.integers(1, 25, rng.integers(0, 4))]
    return rng.permutation(np.repeat(np.arange(len(sizes)), sizes))


def random_groups(labels, seed):
    """Groups of about three images, whatever their classes."""
    rng = np.random.default_rng([seed, 1])
    return rng.integers(0, max(10, len(labels) // 3), len(labels))


def random_among(labels, seed):
    rng = np.random.default_rng([seed, 2])
    return rng.permutation(len(labels))[: max(20, int(0.8 * len(labels)))]


def same_splits(a, b):
    return all(
        np.array_equal(x.train, y.train) and np.array_equal(x.val, y.val) for x, y in zip(a, b, strict=True)
    )


def class_counts(splits, labels, k):
    """Images of class k in each validation side."""
    return [int(np.sum(labels[split.val] == k)) for split in splits]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("grouped", [False, True])
def test_sides_are_disjoint_and_validation_sides_partition_the_images(seed, grouped):
    labels = random_labels(seed)
    groups = random_groups(labels, seed) if grouped else None
    among = random_among(labels, seed)
    for array in (labels, among):
        array.setflags(write=False)
    n_folds = 2 + seed % 6
    splits = stratified_folds(labels, groups, n_folds=n_folds, seed=seed, among=among)
    single = among[np.bincount(labels[among])[labels[among]] == 1]
    assert len(splits) == n_folds
    validated = np.concatenate([split.val for split in splits])
    assert sorted(validated) == sorted(np.setdiff1d(among, single))
    for split in splits:
        for side in (split.train, split.val):
            assert side.dtype == np.int64
            assert len(side) > 0
            assert np.all(np.diff(side) > 0)
        assert not np.intersect1d(split.train, split.val).size
        either_side = np.union1d(split.train, split.val)
        left_out = np.setdiff1d(among, either_side)
        assert np.isin(either_side, among).all()
        assert np.isin(left_out, single).all()
        if groups is None:
            assert left_out.size == 0
        else:
            assert not np.intersect1d(groups[split.train], groups[split.val]).size
            # A single image is on neither side only where its group is validated.
            assert np.isin(groups[left_out], groups[split.val]).all()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_folds", [2, 3, 10])
def test_classes_spread_evenly(seed, n_folds):
    labels = random_labels(seed)
    splits = stratified_folds(labels, None, n_folds=n_folds, seed=seed)
    for k, size in enumerate(np.bincount(labels)):
        counts = class_counts(splits, labels, k)
        assert sum(counts) == (0 if size == 1 else size)
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("n_folds", [2, 5, 10])
@pytest.mark.parametrize("sizes", [(30, 30, 4), (30, 2), (4, 4, 4), (12, 3, 1, 1)])
@pytest.mark.parametrize("grouped", [False, True])
def test_classes_smaller_than_the_folds_are_dealt_out_without_a_warning(n_folds, sizes, grouped):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    splits = stratified_folds(labels, np.arange(len(labels)) if grouped else None, n_folds=n_folds, seed=0)
    for k, size in enumerate(sizes):
        counts = class_counts(splits, labels, k)
        assert sum(counts) == (0 if size == 1 else size)
        assert grouped or max(counts) - min(counts) <= 1


def test_groups_are_roughly_stratified():
    groups = np.repeat(np.arange(60), 5)
    for seed in range(10):
        labels = np.where(np.random.default_rng(seed).random(60) < 0.3, 1, 0)[groups]
        for split in stratified_folds(labels, groups, n_folds=5, seed=seed):
            assert abs(labels[split.val].mean() - labels.mean()) < 0.12


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_a_test_set_has_its_share_of_every_class_and_divides_no_group(seed, share):
    labels = random_labels(seed)
    split = hold_out(labels, None, share, seed)
    assert sorted([*split.train, *split.val]) == list(range(len(labels)))
    for k, size in enumerate(np.bincount(labels)):
        n_test = np.sum(labels[split.val] == k)
        assert n_test == 0 if size == 1 else abs(n_test - share * size) <= 1
    groups = random_groups(labels, seed)
    grouped = hold_out(labels, groups, 0.2, seed)
    assert not np.intersect1d(groups[grouped.train], groups[grouped.val]).size
    assert 0.1 < len(grouped.val) / len(labels) < 0.35


@pytest.mark.parametrize("grouped", [False, True])
def test_the_partition_depends_on_the_seed_and_not_on_the_order_of_among(grouped):
    labels = np.repeat([0, 1, 2], 40)
    groups = np.arange(120) // 2 if grouped else None
    among = random_among(labels, 0)
    first, again, other = (
        stratified_folds(labels, groups, n_folds=4, seed=seed, among=order)
        for seed, order in ((3, among), (3, among[::-1]), (4, among))
    )
    assert same_splits(first, again)
    assert not same_splits(first, other)


@pytest.mark.parametrize("study_seed", range(5))
def test_search_and_comparison_folds_are_not_nested(study_seed):
    labels = np.repeat([0, 1, 2], 40)
    search, comparison = (
        stratified_folds(labels, None, n_folds=5, seed=derive_seed(study_seed, "folds", purpose, 0))
        for purpose in ("search", "compare")
    )
    # Independent partitions share about a fifth of every pair of validation sides.
    assert max(len(np.intersect1d(a.val, b.val)) for a in search for b in comparison) < 18


def test_the_only_image_of_a_class_is_always_trained_and_never_validated():
    labels = np.repeat([0, 1, 2], [20, 20, 3])
    among = np.arange(41)  # of class 2, only image 40
    for groups in (None, np.arange(43)):
        splits = stratified_folds(labels, groups, n_folds=5, seed=0, among=among)
        assert all(40 in split.train and 40 not in split.val for split in splits)
    groups = np.arange(43) // 2
    groups[40] = groups[7]
    splits = stratified_folds(labels, groups, n_folds=5, seed=0, among=among)
    assert [40 in split.train for split in splits] == [7 not in split.val for split in splits]


@pytest.mark.parametrize(
    ("labels", "groups", "n_units"),
    [(np.repeat([0, 1], 5), None, 10), (np.repeat([0, 1], 5), np.arange(10) // 2, 5), (np.arange(5), None, 0)],
)
def test_too_many_folds_names_both_numbers(labels, groups, n_units):
    with pytest.raises(InputError, match=f"11 folds.* {n_units} "):
        stratified_folds(labels, groups, n_folds=11, seed=0)


def test_as_many_folds_as_images_leave_each_out_once():
    splits = stratified_folds(np.repeat([0, 1], 5), None, n_folds=10, seed=0)
    assert sorted(int(split.val[0]) for split in splits) == list(range(10))


def test_small_classes_are_named():
    classes = ("absent", "lone", "few", "enough")
    labels = np.repeat([0, 1, 2, 3], [2, 1, 4, 10])
    among = np.arange(2, 17)  # the two images of `absent` are in the test set
    lines = small_class_warnings(classes, labels, among, 5)
    assert [line.split()[1] for line in lines] == ["absent", "lone", "few"]
    assert " 5 folds" in lines[2]
    assert not any("\n" in line for line in lines)
    assert small_class_warnings(classes, labels, np.arange(17), 2) == [lines[1]]


def test_many_small_classes_are_one_line():
    labels = np.repeat(np.arange(40), 4)
    (line,) = small_class_warnings([f"stage {k}" for k in range(40)], labels, np.arange(160), 10)
    assert "40 classes" in line
    assert len(line) < 200
