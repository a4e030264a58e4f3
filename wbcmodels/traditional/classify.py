"""A classifier in two steps: first a group of similar classes, then the class within the group.

The groups come from the training data: Ward's clustering of the classes' mean features. Probabilities multiply,
P(class) = P(group) P(class | group).

Sources: Ward, "Hierarchical Grouping to Optimize an Objective Function"; Platt, "Probabilistic Outputs for Support
Vector Machines".
"""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import AgglomerativeClustering
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from wbcmodels.traditional.choices import ClassifierName

CALIBRATION_FOLDS = 3
BOOSTING_LEAF = 5  # images; a rare class has few


class TwoStepClassifier(ClassifierMixin, BaseEstimator):
    """Classifies features in two steps.

    Args:
        estimator: classifier with `predict_proba` and sample weights, copied for every step.
        n_groups: groups of classes; with 1 group, or no more classes than groups, there is one step.
        balanced: weight images so that the labels of a step, groups or classes, count the same.
        min_images: repeat the images of rarer classes up to this number, for estimators that split their data.
        random_state: seed of every copy of the estimator that takes one.
    Attributes:
        classes_: labels seen in training, ascending (n_classes,).
        groups_: group of each class (n_classes,).
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        n_groups: int = 2,
        balanced: bool = True,
        min_images: int = 1,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_groups = n_groups
        self.balanced = balanced
        self.min_images = min_images
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Learn from features (n, n_features), labels (n,) and, if given, weights (n,)."""
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        self.scaler_ = StandardScaler().fit(X)
        scaled = self.scaler_.transform(X)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.groups_ = self._grouped(scaled, labels)
        self.first_ = self._fitted(scaled, self.groups_[labels], weights)
        self.second_ = []
        for group in range(self.groups_.max() + 1):
            members = self.groups_[labels] == group
            self.second_.append(self._fitted(scaled[members], labels[members], weights[members]))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities (n, n_classes) of `classes_`."""
        scaled = self.scaler_.transform(X)
        of_groups = _probabilities(self.first_, scaled)
        probabilities = np.empty((len(X), len(self.classes_)))
        for group, second in enumerate(self.second_):
            probabilities[:, self.groups_ == group] = of_groups[:, [group]] * _probabilities(second, scaled)
        return probabilities

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable labels (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _grouped(self, scaled: np.ndarray, labels: np.ndarray) -> np.ndarray:
        n_classes = len(self.classes_)
        if n_classes <= self.n_groups:
            return np.arange(n_classes)
        means = np.stack([scaled[labels == number].mean(axis=0) for number in range(n_classes)])
        return AgglomerativeClustering(self.n_groups).fit_predict(means)

    def _fitted(self, scaled: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> BaseEstimator | None:
        """Return a fitted copy of the estimator; none where there is one label and nothing to learn."""
        if len(np.unique(labels)) == 1:
            return None
        copies = np.ceil(self.min_images / np.bincount(labels)[labels]).astype(int)
        order = np.repeat(np.arange(len(labels)), copies)
        weights = weights / copies * compute_sample_weight("balanced" if self.balanced else None, labels)
        estimator = clone(self.estimator)
        seeds = {name: self.random_state for name in estimator.get_params() if name.endswith("random_state")}
        return estimator.set_params(**seeds).fit(scaled[order], labels[order], sample_weight=weights[order])


def build(
    classifier: ClassifierName, seed: int, *, n_groups: int, balanced: bool, C: float, n_estimators: int
) -> TwoStepClassifier:
    """Return an unfitted classifier; for the arguments, see `wbcmodels.traditional.config.Traditional`."""
    if classifier == "svm":
        estimator = CalibratedClassifierCV(SVC(C=C), ensemble=False, cv=CALIBRATION_FOLDS)
    elif classifier == "random_forest":
        estimator = RandomForestClassifier(n_estimators)
    else:
        estimator = HistGradientBoostingClassifier(max_iter=n_estimators, min_samples_leaf=BOOSTING_LEAF)
    return TwoStepClassifier(
        estimator,
        n_groups=n_groups,
        balanced=balanced,
        min_images=CALIBRATION_FOLDS if classifier == "svm" else 1,
        random_state=seed,
    )


def _probabilities(estimator: BaseEstimator | None, scaled: np.ndarray) -> np.ndarray:
    """Return probabilities (n, n_labels); certainty where there is one label."""
    return np.ones((len(scaled), 1)) if estimator is None else estimator.predict_proba(scaled)
