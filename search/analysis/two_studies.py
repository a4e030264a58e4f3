"""Two studies side by side: what differs in how they were made and in what came out.

Whether a difference between two studies can be tested depends on the folds. Scores on the same folds of the same
images differ only by the networks, so their differences are paired, image by image. Otherwise each study only has
an interval of its own: the images of the two studies are not independent samples, and the variance of a difference
is unknown.
"""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from itertools import zip_longest
from math import nan
from typing import Any

import pandas as pd

from search.analysis.comparison import judge
from search.analysis.families import pair
from search.analysis.gathering import gather
from search.analysis.measures import MEASURES
from search.analysis.selection import kept_trials
from search.analysis.statistics import Interval
from search.records.description import DataSet, Description
from search.records.results import Results
from search.records.schema import Phase
from search.space import PAPER_LEVELS

Facts = dict[str, tuple[Any, Any]]
_PARTITION = ["repeat", "fold", "image"]
# The other fields of a profile are defaults of the plan.
_PROFILE = ("width", "epochs", "transfer_epochs", "input_px", "lr", "optimizer", "batch_size")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference of two networks on the same images and folds, with its 95 % interval and p value.

    Attributes:
        low, high, p: simultaneous over all levels; NaN where the data are too few.
    """

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class LevelRow:
    """A level in both studies.

    Attributes:
        a, b: the metric, pooled over folds; None if a study lacks the level.
        a_over_folds, b_over_folds: its mean over folds, with the interval; None without one.
        difference: b minus a; None if they do not pair.
    """

    level: str
    a: float | None
    b: float | None
    a_over_folds: Interval | None = None
    b_over_folds: Interval | None = None
    difference: Difference | None = None


def differences_in_making(a: Description, b: Description) -> dict[str, Facts]:
    """What differs in the images, settings and program of two studies, by these three words.

    Paths and names do not count: digests identify images and a space's file.

    Returns:
        name -> the values of both studies; None if one has no such value.
    """
    space = {} if a.origin["space"] == b.origin["space"] else {"space": (_space(a), _space(b))}
    return {
        "images": _different_images(a, b),
        "settings": space | _differing(_settings(a), _settings(b)),
        "program": _differing(_program(a), _program(b)),
    }


def shared_repeats(a: Results, b: Results) -> list[int]:
    """The complete repeats on which both were compared: the same images, divided into the same folds."""
    if not _same_source(a, b):
        return []
    own, other = (_partitions(study.tables["predictions"]) for study in (a, b))
    return [
        repeat
        for repeat, rows in own.items()
        if repeat in other and rows.equals(other[repeat]) and rows["fold"].nunique() == a.description.plan.folds
    ]


def compared_levels(a: Results, b: Results, metric: str) -> list[LevelRow]:
    """The levels of two comparisons, and the paper's networks; they are compared if the studies share folds.

    Args:
        metric: that is compared.
    """
    rows_a, rows_b = _by_level(a), _by_level(b)
    levels = _in_order(a, b, {*rows_a, *rows_b})
    differences = _differences(a, b, [level for level in levels if level in rows_a and level in rows_b], metric)
    return [
        LevelRow(
            level=level,
            a=rows_a[level][metric] if level in rows_a else None,
            b=rows_b[level][metric] if level in rows_b else None,
            a_over_folds=_over_folds(rows_a.get(level), metric),
            b_over_folds=_over_folds(rows_b.get(level), metric),
            difference=differences.get(level),
        )
        for level in levels
    ]


def searched_levels(a: Results, b: Results, metric: str) -> list[LevelRow]:
    """The best trial of each level so far. It was chosen by its value, so nothing is tested."""
    best_a, best_b = (
        {level: kept[0] for level, kept in kept_trials(_records(study.trials), 1).items()} for study in (a, b)
    )
    return [
        LevelRow(
            level=level,
            a=best_a[level][metric] if level in best_a else None,
            b=best_b[level][metric] if level in best_b else None,
        )
        for level in _in_order(a, b, {*best_a, *best_b})
    ]


def same_test_set(a: Results, b: Results) -> bool:
    """Whether both were scored on the same locked images."""
    tables = (study.tables["predictions"] for study in (a, b))
    own, other = (set(rows.loc[rows["phase"] == Phase.TEST, "image"]) for rows in tables)
    return own == other and _same_source(a, b)


def _different_images(a: Description, b: Description) -> Facts:
    """The data sets that differ, by their part in a study."""
    parts = zip_longest(("images", "transfer images"), a.data.items(), b.data.items())
    return {
        part: (_described(own), _described(other))
        for part, own, other in parts
        if (own and own[1].fingerprint) != (other and other[1].fingerprint)
    }


def _described(named: tuple[str, DataSet] | None) -> str | None:
    if named is None:
        return None
    name, data = named
    return f"{name}, {data.n_images} of {len(data.classes)} classes ({data.fingerprint[:8]})"


def _space(description: Description) -> str:
    return f"{description.arguments.space} ({description.origin['space'][:8]})"


def _settings(description: Description) -> dict[str, Any]:
    """Arguments, and what the plan chose where they left it open."""
    plan = description.plan
    arguments = {
        name: value
        for name, value in asdict(description.arguments).items()
        if name not in ("space", "data", "transfer_data")
    }
    return {
        "factor": description.factor,
        "levels": description.levels,
        "reference": description.reference,
        **arguments,
        **{name: getattr(plan, name) for name in ("search_folds", "finalists", "folds", "repeats")},
        "profile": plan.profile_name,
        "trials": plan.n_trials,
        **{f"profile: {name}": getattr(plan.profile, name) for name in _PROFILE},
    }


def _program(description: Description) -> dict[str, Any]:
    environment = description.environment
    return {
        "commit": environment.commit,
        "code": description.origin["code"][:8],
        "python": environment.python,
        **environment.versions,
        "platform": environment.platform,
    }


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Facts:
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def _same_source(a: Results, b: Results) -> bool:
    own, other = (study.description.source[1].fingerprint for study in (a, b))
    return own == other


def _partitions(predictions: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """The fold of every image that the comparison scored, by repeat."""
    rows = predictions.loc[predictions["phase"] == Phase.COMPARE, _PARTITION].drop_duplicates()
    # Rows of the test set have no fold, so a study that was tested has floats for folds.
    rows = rows.astype({"repeat": int, "fold": int}).sort_values(_PARTITION)
    repeats = rows["repeat"].unique().tolist()
    return {repeat: rows[rows["repeat"] == repeat].reset_index(drop=True) for repeat in repeats}


def _differences(a: Results, b: Results, levels: list[str], metric: str) -> dict[str, Difference]:
    """B minus A, for the levels that both scored in all runs that they share.

    The levels of the factor are one family; the paper's networks, which take part in fewer runs, are another.
    """
    repeats = shared_repeats(a, b)
    own = [level for level in levels if level not in PAPER_LEVELS]
    paper = [level for level in levels if level in PAPER_LEVELS]
    return _family(a, b, own, repeats, metric) | _family(a, b, paper, repeats, metric)


def _family(a: Results, b: Results, levels: list[str], repeats: list[int], metric: str) -> dict[str, Difference]:
    if not levels or not repeats:
        return {}
    # Levels of A are numbered first, then those of B.
    networks = [_scored_on(study, level, repeats) for study in (a, b) for level in levels]
    rows = pd.concat([part.assign(level=str(number)) for number, part in enumerate(networks)])
    names = [str(number) for number in range(len(networks))]
    gathered = gather(rows, names, list(a.description.source[1].classes))
    if gathered is None:
        return {}
    pairs = {level: (names[len(levels) + i], names[i]) for i, level in enumerate(levels)}
    both = [level for level, names_of in pairs.items() if {*names_of} <= {*gathered.levels}]
    if not both:
        return {}
    contrasts = [pair(gathered.levels, *pairs[level]) for level in both]
    margin = a.description.arguments.margin / 100
    judged = judge(gathered, contrasts, MEASURES[metric], margin, (len(gathered.runs),)).rows()
    return {
        level: Difference(
            mean=row["estimate"], low=row.get("low", nan), high=row.get("high", nan), p=row.get("p", nan)
        )
        for level, row in zip(both, judged, strict=True)
    }


def _scored_on(study: Results, level: str, repeats: list[int]) -> pd.DataFrame:
    """A level's predictions in some partitions; of those at several settings (in older studies), the first."""
    rows = study.compared("predictions", level)
    rows = rows[rows["repeat"].isin(repeats)].assign(setting=rows["setting"].fillna(0))
    first = rows.groupby("repeat")["setting"].transform("min")
    return rows[rows["setting"] == first].assign(setting=0)


def _in_order(a: Results, b: Results, found: Set[str]) -> list[str]:
    """Levels in the order of A's space, then of B's, the paper's networks last."""
    known = dict.fromkeys([*a.description.levels, *b.description.levels, *PAPER_LEVELS])
    return [level for level in known if level in found]


def _by_level(study: Results) -> dict[str, dict[str, Any]]:
    """The comparison's rows of levels and of the paper's networks."""
    return {row["level"]: row for row in _records(pd.concat([study.levels, study.paper]))}


def _over_folds(row: Mapping[str, Any] | None, metric: str) -> Interval | None:
    if row is None or row[f"{metric}_low"] is None:
        return None
    return Interval(*(row[f"{metric}_{end}"] for end in ("mean", "low", "high")))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None where a frame has NaN."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
