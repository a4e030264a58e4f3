"""False alarms and power of a comparison: what it finds where nothing differs, and where something does.

    python -m benchmarks.false_alarms
    python -m benchmarks.false_alarms --classifier networks --power

The results of larger runs are in docs/statistics.md.

Each simulated study draws fresh images of five classes as unequal as in blood, fits eight classifiers to every
fold of every run, and judges them by the functions that studies use. None is better by construction, and their
errors are correlated, as those of networks on the same images are. The classifiers are class means, each of which
sees features shared by all and features of its own; or networks of one hidden layer, which see the same features,
differ by their seeds, and are matched to the networks of the reference study: they err on 3.2 % of the images
(3.2 % there), two of them disagree on 1.9 % (2.0 %), and folds scatter 1.2 times as much as images explain (1.2).
To measure power, some of them get features with a stronger signal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.table import Table
from scipy.special import softmax

from search.analysis.comparison import Judged, judge
from search.analysis.families import interactions, main_family
from search.analysis.gathering import Gathered
from search.analysis.measures import MEASURES
from search.analysis.recommendation import Recommendation, recommend
from search.analysis.statistics import wilson
from search.common.commandline import make_app, run_app
from search.common.console import make_console
from search.space import effects_of_parts
from wbcmodels.config import PLACEMENTS

# Shares of the classes of healthy blood; of 1738 images, 24 are basophils.
CLASS_SHARES = np.array([24, 58, 432, 96, 1128]) / 1738
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "brier", "log_loss")
EFFECTS = {e.name: e.levels for e in effects_of_parts(PLACEMENTS, {s: f"stage {s}" for s in "123"})}
FAMILY = main_family(PLACEMENTS, "none", EFFECTS)
MARGIN, ALPHA = 0.01, 0.05
PAIR, STAGE = "1+2+3 − none", "stage 2"
LOOKS = (2, 4)
GAIN_SDS = (0.02, 0.05, 0.1)
GROUP_SIZE, GROUP_SD = 8, 0.5
Floats = NDArray[np.float64]
Fit = Callable[[np.random.Generator, Floats, NDArray[np.int64], Floats], Floats]

app = make_app("benchmarks.false_alarms")


@dataclass(frozen=True)
class Kind:
    """A kind of classifier, and the features that it sees.

    Attributes:
        name: for a person.
        fit: (random, features, labels, other features) -> probabilities of the others; shapes (n_levels, n,
            n_features), (n,), (n_levels, n_others, n_features), (n_levels, n_others, n_classes).
        signal: distance of the class means, in standard deviations of a feature.
        own: whether each classifier has features of its own besides the shared ones.
    """

    name: str
    fit: Fit
    signal: float
    own: bool


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a simulated study consists of.

    Attributes:
        gains: level -> factor on its signal.
        grouped: images come in groups that resemble each other, and that no fold divides.
    """

    kind: Kind
    n_images: int = 1738
    n_folds: int = 10
    n_runs: int = 1
    grouped: bool = False
    gains: tuple[tuple[str, float], ...] = ()


def fit_class_means(
    random: np.random.Generator, features: Floats, labels: NDArray[np.int64], others: Floats
) -> Floats:
    """Nearest class means; `random` is not used, since they have nothing random."""
    one_hot = np.eye(len(CLASS_SHARES))[labels]
    means = np.einsum("ik,lid->lkd", one_hot, features, optimize=True) / one_hot.sum(0)[:, None]
    closeness = others @ means.transpose(0, 2, 1) - 0.5 * (means**2).sum(2)[:, None]
    return np.asarray(softmax(closeness, axis=2))


def fit_networks(
    random: np.random.Generator,
    features: Floats,
    labels: NDArray[np.int64],
    others: Floats,
    *,
    hidden: int = 24,
    steps: int = 20,
    rate: float = 0.05,
) -> Floats:
    """One network per level, all trained at once on all images of each step (Adam)."""
    n_levels, _, n_features = features.shape
    inputs, truth = features.astype(np.float32), np.eye(len(CLASS_SHARES), dtype=np.float32)[labels]
    shapes = ((n_levels, n_features, hidden), (n_levels, 1, hidden), (n_levels, hidden, len(CLASS_SHARES)))
    weights = [random.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]
    weights.append(np.zeros((n_levels, 1, len(CLASS_SHARES)), np.float32))
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step in range(1, steps + 1):
        active = np.tanh(inputs @ weights[0] + weights[1])
        error = (softmax(active @ weights[2] + weights[3], axis=2) - truth) / len(labels)
        back = (error @ weights[2].transpose(0, 2, 1)) * (1 - active**2)
        gradients = (
            inputs.transpose(0, 2, 1) @ back,
            back.sum(1, keepdims=True),
            active.transpose(0, 2, 1) @ error,
            error.sum(1, keepdims=True),
        )
        for w, g, m, v in zip(weights, gradients, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.01 * (g * g - v)
            w -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    active = np.tanh(others.astype(np.float32) @ weights[0] + weights[1])
    return np.asarray(softmax(active @ weights[2] + weights[3], axis=2), dtype=np.float64)


KINDS = {
    "means": Kind("class means", fit_class_means, signal=2.0, own=True),
    "networks": Kind("networks", fit_networks, signal=3.1, own=False),
}


def simulate(setup: Setup, seed: int) -> Gathered:
    """Draw a study's images, and fit and score every classifier on every fold of every run."""
    random = np.random.default_rng([seed, setup.n_images, setup.n_folds])
    counts = np.maximum(5, np.round(CLASS_SHARES * setup.n_images)).astype(int)
    labels = random.permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(labels)
    groups = np.arange(n) // GROUP_SIZE if setup.grouped else None
    features = _features(random, setup, labels, groups)
    probabilities = np.empty((setup.n_runs, len(PLACEMENTS), n, len(CLASS_SHARES)))
    folds = np.empty((setup.n_runs, n), dtype=np.int64)
    for run in range(setup.n_runs):
        folds[run] = _partition(random, labels, groups, setup.n_folds)
        for fold in range(setup.n_folds):
            val = folds[run] == fold
            probabilities[run][:, val] = setup.kind.fit(random, features[:, ~val], labels[~val], features[:, val])
    return Gathered(
        levels=PLACEMENTS,
        missing=(),
        runs=tuple((run, run) for run in range(setup.n_runs)),
        probabilities=probabilities,
        folds=folds,
        labels=labels,
        groups=groups,
    )


def judged(study: Gathered, metric: str, looks: Sequence[int] | None = None) -> Judged:
    """The family of effects and pairs, as a study judges it."""
    return judge(study, FAMILY, MEASURES[metric], MARGIN, looks or (len(study.runs),))


def finds(study: Gathered, metric: str, contrast: str | None = None, looks: Sequence[int] | None = None) -> bool:
    """Whether a study finds a contrast, or anything at all."""
    rows = judged(study, metric, looks).rows()
    return any(row["p"] < ALPHA for row in rows if contrast in (None, row["contrast"]))


def with_gain(setup: Setup, levels: Sequence[str], points: float, n_pilots: int) -> Setup:
    """Make levels truly better by some points of accuracy, to within the noise of a few pilot studies.

    Differences grow nearly linearly with the gain, so two rounds suffice.
    """

    def difference(gain: float) -> float:
        better = replace(setup, n_runs=1, gains=tuple((level, gain) for level in levels))
        found = []
        for seed in range(n_pilots):
            scores = MEASURES["accuracy"].scores(*_of(simulate(better, 10_000 + seed)))[0].mean(1)
            has = np.isin(PLACEMENTS, levels)
            found.append(scores[has].mean() - scores[~has].mean())
        return 100 * float(np.mean(found))

    gain = 1.1
    for _ in range(2):
        gain = 1 + (gain - 1) * points / difference(gain)
    return replace(setup, gains=tuple((level, gain) for level in levels))


@app.default
def main(
    *,
    studies: Annotated[int, Parameter(help="Simulated studies of each kind.")] = 300,
    classifier: Annotated[Literal["means", "networks"], Parameter(help="Kind of classifier.")] = "means",
    images: Annotated[tuple[int, ...], Parameter(consume_multiple=True, help="Numbers of images.")] = (300, 1738),
    folds: Annotated[tuple[int, ...], Parameter(consume_multiple=True, help="Numbers of folds.")] = (10,),
    runs: Annotated[tuple[int, ...], Parameter(consume_multiple=True, help="Numbers of runs.")] = (1, 2),
    grouped: Annotated[bool, Parameter(help="Images come in groups, as of patients.")] = False,
    power: Annotated[
        bool, Parameter(help="Measure power, looks and recommendations too, on 1738 images.")
    ] = False,
) -> None:
    """Simulate studies, and print how often they raise a false alarm and what they find."""
    console, kind = make_console(), KINDS[classifier]
    table = Table(title=f"Any false alarm in a family of {len(FAMILY)}, % of {studies} studies ({kind.name})")
    for column in ("images", "folds", "runs", *METRICS):
        table.add_column(column, justify="right")
    for n_images in images:
        for n_folds in folds:
            for n_runs in runs:
                setup = Setup(kind=kind, n_images=n_images, n_folds=n_folds, n_runs=n_runs, grouped=grouped)
                found = np.zeros(len(METRICS), dtype=int)
                for seed in range(studies):
                    study = simulate(setup, seed)
                    found += [finds(study, metric) for metric in METRICS]
                table.add_row(
                    *map(str, (n_images, n_folds, n_runs)), *(_share(n, studies) for n in found.tolist())
                )
    console.print(table)
    if power:
        console.print(_power(kind, studies))
        console.print(_looks(kind, studies))
        console.print(_recommendations(kind, studies))


def _power(kind: Kind, studies: int) -> Table:
    """How often a true difference is found, and how large it is by each metric."""
    table = Table(title=f"Found, % of {studies} studies of 1738 images on ten folds ({kind.name})")
    for column in ("what is better", "runs", *METRICS):
        table.add_column(column, justify="right")
    for contrast, (levels, points) in {PAIR: (("1+2+3",), 1.0), STAGE: (EFFECTS[STAGE], 0.5)}.items():
        setup = with_gain(Setup(kind=kind), levels, points, n_pilots=30)
        for n_runs in (1, 2):
            found, sizes = np.zeros(len(METRICS), dtype=int), np.zeros(len(METRICS))
            for seed in range(studies):
                study = simulate(replace(setup, n_runs=n_runs), seed)
                for place, metric in enumerate(METRICS):
                    (row,) = (row for row in judged(study, metric).rows() if row["contrast"] == contrast)
                    found[place] += row["p"] < ALPHA
                    sizes[place] += 100 * row["estimate"] / studies
            table.add_row(contrast, str(n_runs), *(_share(n, studies) for n in found.tolist()))
        table.add_row("its size, points", "", *(f"{size:.2f}" for size in sizes))
    return table


def _looks(kind: Kind, studies: int) -> Table:
    """All runs at once, or a look after every two: what is found by accuracy, and after how many runs."""
    table = Table(title=f"Found by accuracy, % of {studies} studies of 1738 images on ten folds ({kind.name})")
    for column in ("truth", f"{LOOKS[0]} runs", f"{LOOKS[-1]} runs", f"looks after {LOOKS}", "runs on average"):
        table.add_column(column, justify="right")
    equal = Setup(kind=kind, n_runs=LOOKS[-1])
    truths = {
        "all equal (any alarm)": (equal, None),
        f"{PAIR} is 1 point": (with_gain(equal, ("1+2+3",), 1.0, 30), PAIR),
    }
    for truth, (setup, contrast) in truths.items():
        found, runs = np.zeros((studies, 3), dtype=bool), np.full(studies, LOOKS[-1])
        for seed in range(studies):
            study = simulate(setup, seed)
            parts = [study.of_runs(np.arange(n)) for n in LOOKS]
            found[seed, :2] = [finds(part, "accuracy", contrast) for part in (parts[0], study)]
            for part, n in zip(parts, LOOKS, strict=True):
                if finds(part, "accuracy", contrast, LOOKS):
                    found[seed, 2], runs[seed] = True, n
                    break
        table.add_row(truth, *(_share(n, studies) for n in found.sum(0).tolist()), f"{runs.mean():.1f}")
    return table


def _recommendations(kind: Kind, studies: int) -> Table:
    """How often the level that is truly best is ruled out, and how many are left, by accuracy."""
    table = Table(title=f"Recommendations, {studies} studies of 1738 images on ten folds, two runs ({kind.name})")
    for column in ("gains of levels", "their SD", "the best is ruled out, %", "levels left"):
        table.add_column(column, justify="left" if column == "gains of levels" else "right")
    stages = np.array([[level in having for having in EFFECTS.values()] for level in PLACEMENTS])
    for truth, n_parts in (
        ("one for each stage, added up", len(EFFECTS)),
        ("one for each level", len(PLACEMENTS)),
    ):
        for spread in GAIN_SDS:
            ruled_out, n_left = 0, 0
            for seed in range(studies):
                parts = spread * np.random.default_rng([17, seed]).normal(size=n_parts)
                gains = 1 + (stages @ parts if n_parts == len(EFFECTS) else parts)
                setup = Setup(kind=kind, n_runs=2, gains=tuple(zip(PLACEMENTS, gains.tolist(), strict=True)))
                beaten = _recommended(simulate(setup, seed)).beaten
                ruled_out += PLACEMENTS[int(gains.argmax())] in beaten
                n_left += len(PLACEMENTS) - len(beaten)
            table.add_row(truth, f"{spread}", _share(ruled_out, studies), f"{n_left / studies:.1f}")
    return table


def _recommended(study: Gathered) -> Recommendation:
    main = judged(study, "accuracy")
    crossed = judge(study, interactions(PLACEMENTS, EFFECTS), MEASURES["accuracy"], MARGIN, main.looks)
    costs = dict.fromkeys(PLACEMENTS, 1.0)
    return recommend(study, main, crossed, (), levels=PLACEMENTS, effects=EFFECTS, best="none", macs=costs)


def _features(
    random: np.random.Generator, setup: Setup, labels: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> Floats:
    """Features of each level, shape (n_levels, n_images, n_features)."""
    n, n_levels, n_classes = len(labels), len(PLACEMENTS), len(CLASS_SHARES)
    # Class means equally far apart.
    centres = setup.kind.signal * np.linalg.svd(np.eye(n_classes) - 1 / n_classes)[0][:, : n_classes - 1]
    strength = np.ones((n_levels, 1, 1))
    for level, gain in setup.gains:
        strength[PLACEMENTS.index(level)] = gain
    noise = random.normal(size=(1, n, n_classes - 1))
    if groups is not None:
        noise = noise + GROUP_SD * random.normal(size=(groups.max() + 1, n_classes - 1))[groups]
    shared = noise + centres[labels]
    if not setup.kind.own:
        return np.broadcast_to(noise, (n_levels, n, n_classes - 1)) + strength * centres[labels]
    own = random.normal(size=(n_levels, n, n_classes - 1)) + strength * centres[labels]
    return np.concatenate([np.broadcast_to(shared, own.shape), own], axis=2)


def _partition(
    random: np.random.Generator, labels: NDArray[np.int64], groups: NDArray[np.int64] | None, n_folds: int
) -> NDArray[np.int64]:
    """Folds that are stratified by class or, with groups, that divide none."""
    if groups is not None:
        return (random.permutation(groups.max() + 1) % n_folds)[groups]
    folds = np.empty(len(labels), dtype=np.int64)
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        folds[own] = (random.permutation(len(own)) + random.integers(n_folds)) % n_folds
    return folds


def _of(study: Gathered) -> tuple[Floats, NDArray[np.int64]]:
    return study.probabilities, study.labels


def _share(n: int, studies: int) -> str:
    low, high = wilson(n, studies)
    return f"{100 * n / studies:.1f} ({100 * low:.1f}–{100 * high:.1f})"


if __name__ == "__main__":
    run_app(app)
