"""Stratified, group-disjoint splits.

A study locks one test set. The rest, the development set, is partitioned twice, independently: search folds score
trials, comparison folds score the configuration that each level has chosen.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.common.errors import InputError
from search.data.names import few

Indices = NDArray[np.int64]

# Share of the source's images in the locked test set.
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Image indices of a split's two sides, each ascending."""

    train: Indices
    val: Indices


def hold_out(labels: NDArray[np.int64], groups: NDArray[np.int64] | None, share: float, seed: int) -> Split:
    """Set aside a stratified test set, as the `val` side of a split.

    Args:
        labels: shape (n_images,).
        groups: shape (n_images,); one group never crosses the split. None: every image its own.
        share: share of test images, 0 < share <= 1/2, rounded to one over a whole number.
    Raises:
        InputError: fewer images or groups than parts; names both numbers.
    """
    return stratified_folds(labels, groups, n_folds=max(2, round(1 / share)), seed=seed)[0]


def stratified_folds(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    *,
    n_folds: int,
    seed: int,
    among: Indices | None = None,
) -> list[Split]:
    """Build stratified, group-disjoint splits.

    A class with a single image (among those given) is on the training side of every split, except where other
    images of its group are validated: there it is on neither side.

    Args:
        labels: int64, shape (n_images,).
        groups: shape (n_images,); one group never crosses a split. None: every image its own.
        n_folds: at least 2.
        among: the image indices to partition; None: all.
    Returns:
        n_folds Splits of indices into `labels`; the validation sides partition all images except those of
        single-image classes.
    Raises:
        InputError: n_folds exceeds the number of images or groups; names both numbers.
    """
    among = np.arange(len(labels)) if among is None else np.sort(among)
    counts = np.bincount(labels[among])
    single = among[counts[labels[among]] == 1]
    shared = np.setdiff1d(among, single)
    units = len(shared) if groups is None else len(np.unique(groups[shared]))
    if n_folds > units:
        kind = "images" if groups is None else "groups"
        raise InputError(f"{n_folds} folds: only {units} {kind}; use at most {units}")
    splits = []
    for val in _validation_sides(labels[shared], None if groups is None else groups[shared], n_folds, seed):
        validation = np.sort(shared[val])
        train = np.setdiff1d(among, validation)
        if groups is not None:
            # The single image of a class may belong to a group that is validated here.
            crossing = np.isin(groups[train], groups[validation])
            train = train[~crossing]
        splits.append(Split(train=train, val=validation))
    return splits


def _validation_sides(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, n_folds: int, seed: int
) -> list[Indices]:
    # Imported here, because it takes a second and the study's header appears before.
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

    if groups is not None:
        counts = np.bincount(labels)
        if counts.max() < n_folds:  # too few for scikit-learn to stratify
            by_group = GroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
            return [val for _, val in by_group.split(labels, labels, groups)]
        stratified = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")  # the study warns of it
            return [val for _, val in stratified.split(labels, labels, groups)]
    if np.bincount(labels)[np.unique(labels)].min() >= n_folds:
        plain = StratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
        return [val for _, val in plain.split(labels, labels)]
    # scikit-learn refuses if all classes are smaller than n_folds, and warns if one is, as the study itself does.
    # Dealing out each shuffled class in turn stratifies as well, without those limits.
    generator = np.random.default_rng(seed)
    dealt = np.concatenate([generator.permutation(np.flatnonzero(labels == k)) for k in np.unique(labels)])
    return [dealt[fold::n_folds] for fold in range(n_folds)]


def small_class_warnings(
    classes: Sequence[str], labels: NDArray[np.int64], among: Indices, n_folds: int
) -> list[str]:
    """Warnings of classes with fewer images than folds, at most one line of each kind."""
    counts = np.bincount(labels[among], minlength=len(classes))
    absent, single, fewer = (
        [name for name, count in zip(classes, counts, strict=True) if least <= count < most]
        for least, most in ((0, 1), (1, 2), (2, n_folds))
    )
    lines = []
    if absent:
        lines.append(f"{_classes(absent)} without an image outside the test set: not trained and not scored")
    if single:
        lines.append(
            f"{_classes(single)} with 1 image outside the test set: trained but never validated, and the metrics "
            "leave it out"
        )
    if fewer:
        lines.append(
            f"{_classes(fewer)} with fewer images than the {n_folds} folds: some folds validate none of them; "
            "metrics are pooled over folds"
        )
    return lines


def _classes(names: Sequence[str]) -> str:
    return f"class {names[0]}" if len(names) == 1 else f"{len(names)} classes ({few(names)})"
