import warnings

import numpy as np
import pytest

from search.common.errors import InputError
from search.common.seeds import derive_seed
from search.data.splits import hold_out, small_class_warnings, stratified_folds

SEEDS = range(20)


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


def single_class_images(labels, among):
    counts = np.bincount(labels[among])
    return among[counts[labels[among]] == 1]


def same_splits(a, b):
    return all(
        np.array_equal(x.train, y.train) and np.array_equal(x.val, y.val) for x, y in zip(a, b, strict=True)
    )


def quiet_folds(labels, groups, **options):
    """Folds; scikit-learn's warning of small classes with groups is the matter of a test of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return stratified_folds(labels, groups, **options)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grouped", [False, True])
def test_sides_are_disjoint_and_validation_sides_partition_the_images(seed, grouped):
    labels = random_labels(seed)
    groups = random_groups(labels, seed) if grouped else None
    among = random_among(labels, seed)
    n_folds = 2 + seed % 6
    splits = quiet_folds(labels, groups, n_folds=n_folds, seed=seed, among=among)
    single = single_class_images(labels, among)
    assert len(splits) == n_folds
    validated = np.concatenate([split.val for split in splits])
    assert sorted(validated) == sorted(np.setdiff1d(among, single))
    for split in splits:
        assert split.train.dtype == split.val.dtype == np.int64
        assert len(split.train) > 0
        assert len(split.val) > 0
        assert np.all(np.diff(split.train) > 0)
        assert np.all(np.diff(split.val) > 0)
        assert not np.intersect1d(split.train, split.val).size
        either_side = np.union1d(split.train, split.val)
        left_out = np.setdiff1d(among, either_side)
        assert np.isin(either_side, among).all()
        assert np.isin(left_out, single).all()
        if groups is None:
            assert left_out.size == 0
        else:
            assert not np.intersect1d(groups[split.train], groups[split.val]).size


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_folds", [2, 3, 10])
def test_classes_spread_evenly(seed, n_folds):
    labels = random_labels(seed)
    splits = stratified_folds(labels, None, n_folds=n_folds, seed=seed)
    for k in range(labels.max() + 1):
        if np.sum(labels == k) == 1:
            continue
        counts = [int(np.sum(labels[split.val] == k)) for split in splits]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_fold_sizes_differ_by_no_more_than_there_are_classes(seed):
    labels = random_labels(seed)
    sizes = [len(split.val) for split in stratified_folds(labels, None, n_folds=5, seed=seed)]
    assert max(sizes) - min(sizes) <= labels.max() + 1


@pytest.mark.parametrize("seed", range(10))
def test_groups_are_stratified_roughly(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 5)
    labels = np.where(rng.random(60) < 0.3, 1, 0)[groups]
    for split in stratified_folds(labels, groups, n_folds=5, seed=seed):
        assert abs(labels[split.val].mean() - labels.mean()) < 0.12


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_hold_out_sets_its_share_of_every_class_aside(seed, share):
    labels = random_labels(seed)
    split = hold_out(labels, None, share, seed)
    assert sorted([*split.train, *split.val]) == list(range(len(labels)))
    for k in range(labels.max() + 1):
        n, n_test = np.sum(labels == k), np.sum(labels[split.val] == k)
        assert n_test == 0 if n == 1 else abs(n_test - share * n) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_hold_out_parts_no_group(seed):
    labels = random_labels(seed)
    groups = random_groups(labels, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        split = hold_out(labels, groups, 0.2, seed)
    assert not np.intersect1d(groups[split.train], groups[split.val]).size
    assert 0.1 < len(split.val) / len(labels) < 0.35


@pytest.mark.parametrize("grouped", [False, True])
def test_partition_follows_from_the_seed(grouped):
    labels = np.repeat([0, 1, 2], 40)
    groups = np.arange(120) // 2 if grouped else None
    first, again, other = (stratified_folds(labels, groups, n_folds=4, seed=seed) for seed in (3, 3, 4))
    assert same_splits(first, again)
    assert not same_splits(first, other)


def test_order_of_among_does_not_matter():
    labels = random_labels(0)
    among = random_among(labels, 0)
    shuffled = np.random.default_rng(0).permutation(among)
    assert same_splits(
        stratified_folds(labels, None, n_folds=3, seed=0, among=among),
        stratified_folds(labels, None, n_folds=3, seed=0, among=shuffled),
    )


def test_inputs_are_left_alone():
    labels, among = random_labels(1), random_among(random_labels(1), 1)
    labels.setflags(write=False)
    among.setflags(write=False)
    stratified_folds(labels, None, n_folds=3, seed=0, among=among)


@pytest.mark.parametrize("study_seed", range(10))
def test_search_and_comparison_folds_are_not_nested(study_seed):
    labels = np.repeat([0, 1, 2], 40)
    search, comparison = (
        stratified_folds(labels, None, n_folds=5, seed=derive_seed(study_seed, "folds", purpose, 0))
        for purpose in ("search", "compare")
    )
    assert not same_splits(search, comparison)
    # Independent partitions share about a fifth of every pair of validation sides.
    assert max(len(np.intersect1d(a.val, b.val)) for a in search for b in comparison) < 18


@pytest.mark.parametrize("n_folds", [2, 5, 10])
@pytest.mark.parametrize("sizes", [(30, 30, 4), (30, 2), (4, 4, 4), (12, 3, 1, 1)])
def test_class_smaller_than_the_folds_is_dealt_out_without_a_warning(n_folds, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    splits = stratified_folds(labels, None, n_folds=n_folds, seed=0)
    for k, size in enumerate(sizes):
        counts = [int(np.sum(labels[split.val] == k)) for split in splits]
        assert sum(counts) == (0 if size == 1 else size)
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(30, 30, 4), (4, 4, 4)])
def test_class_smaller_than_the_folds_is_dealt_out_with_groups(seed, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.arange(len(labels))
    splits = stratified_folds(labels, groups, n_folds=6, seed=seed)
    assert sorted(np.concatenate([split.val for split in splits])) == list(range(len(labels)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("grouped", [False, True])
def test_image_alone_in_its_class_is_always_trained_on(seed, grouped):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [20, 20, 1]))
    lone = int(np.flatnonzero(labels == 2)[0])
    groups = np.arange(41) if grouped else None
    splits = stratified_folds(labels, groups, n_folds=5, seed=seed)
    assert all(lone in split.train for split in splits)
    assert not any(lone in split.val for split in splits)


@pytest.mark.parametrize("seed", range(10))
def test_image_alone_in_its_class_leaves_training_where_its_group_is_validated(seed):
    labels = np.repeat([0, 1, 2], [20, 20, 1])
    groups = np.arange(41) // 2
    groups[40] = groups[7]
    splits = stratified_folds(labels, groups, n_folds=5, seed=seed)
    assert not any(40 in split.val for split in splits)
    assert [40 in split.train for split in splits] == [groups[40] not in groups[split.val] for split in splits]


def test_alone_counts_among_the_given_images_only():
    labels = np.repeat([0, 1, 2], [20, 20, 3])
    among = np.arange(41)  # of class 2, image 40 alone
    assert all(40 in split.train for split in stratified_folds(labels, None, n_folds=4, seed=0, among=among))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (None, r"^11 folds cannot be made of 10 images$"),
        (np.arange(10) // 2, r"^11 folds cannot be made of 5 groups$"),
    ],
)
def test_too_many_folds_names_both_numbers(groups, message):
    with pytest.raises(InputError, match=message):
        stratified_folds(np.repeat([0, 1], 5), groups, n_folds=11, seed=0)


def test_folds_of_nothing_but_lone_images_are_refused():
    with pytest.raises(InputError, match="2 folds cannot be made of 0 images"):
        stratified_folds(np.arange(5), None, n_folds=2, seed=0)


def test_as_many_folds_as_images_leave_each_out_once():
    splits = stratified_folds(np.repeat([0, 1], 5), None, n_folds=10, seed=0)
    assert sorted(int(split.val[0]) for split in splits) == list(range(10))


def test_small_class_warnings():
    classes = ("absent", "lone", "few", "enough")
    labels = np.repeat([0, 1, 2, 3], [2, 1, 4, 10])
    among = np.arange(2, 17)  # the two images of `absent` are in the test set
    lines = small_class_warnings(classes, labels, among, 5)
    assert len(lines) == 3
    assert "class absent has no image" in lines[0]
    assert "class lone has 1 image " in lines[1]
    assert "never validated" in lines[1]
    assert "class few has 4 images for 5 folds" in lines[2]
    assert not any("\n" in line for line in lines)
    assert small_class_warnings(classes, labels, np.arange(17), 2) == [lines[1]]


def test_no_small_class_no_warning():
    assert small_class_warnings(("a", "b"), np.repeat([0, 1], 5), np.arange(10), 5) == []
