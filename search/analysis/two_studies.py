"""Two studies beside each other: what differs in how they were made and in what came out; frames in, rows out.

Whether a difference between two studies can be tested depends on the folds. Scores of the same folds of the same
images differ by the networks alone, so their differences are paired, fold by fold. Otherwise each study has an
interval of its own, and that is all that is said: the images of one study are no independent sample beside those
of the other, and no variance of their difference is known.
"""

from collections.abc import Mapping, Set
from dataclasses import MISSING, dataclass, fields
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from search.analysis.selection import best_trials
from search.analysis.statistics import Difference, Interval, holm, paired_difference
from search.records.arguments import Arguments
from search.space import PAPER_LEVELS

Facts = dict[str, tuple[Any, Any]]
_FOLD = ["repeat", "fold"]
# The rest of a profile is what the plan says already.
_PROFILE = ("width", "epochs", "transfer_epochs", "input_px", "lr")


@dataclass(frozen=True, kw_only=True)
class StudyTables:
    """A study as its folder has it.

    Attributes:
        description: content of `study.json`.
        trials, comparison, folds, predictions, transfer: the tables of these names; of the predictions, the
            columns phase, repeat, fold and image.
    """

    description: Mapping[str, Any]
    trials: pd.DataFrame
    comparison: pd.DataFrame
    folds: pd.DataFrame
    predictions: pd.DataFrame
    transfer: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class LevelRow:
    """A level in both studies.

    Attributes:
        a, b: the metric, pooled over folds; None where a study does not have the level.
        a_over_folds, b_over_folds: its mean over folds, with the interval; None where there is none.
        difference: b minus a, paired over folds; None where they do not pair.
        p_holm: of the difference, adjusted over the levels; NaN where there is no test.
    """

    level: str
    a: float | None
    b: float | None
    a_over_folds: Interval | None = None
    b_over_folds: Interval | None = None
    difference: Difference | None = None
    p_holm: float = float("nan")


def differences_in_making(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Facts]:
    """What differs in images, settings and program of two studies, by these three words.

    Paths and names do not count: images and a space's file are told apart by their digests.

    Args:
        a, b: contents of `study.json`.
    Returns:
        name -> the values of both, None where one has none.
    """
    space_a, space_b = (description["origin"]["space"] for description in (a, b))
    space = {} if space_a == space_b else {"space": (_space(a), _space(b))}
    return {
        "images": _other_images(a, b),
        "settings": space | _differing(_settings(a), _settings(b)),
        "program": _differing(_program(a), _program(b)),
    }


def shared_repeats(a: StudyTables, b: StudyTables) -> list[int]:
    """The repeats that both were compared on, in full: the same images, divided into the same folds."""
    if not _same_source(a, b):
        return []
    own, other = (_partitions(study.predictions) for study in (a, b))
    return [
        repeat
        for repeat, rows in own.items()
        if repeat in other and rows.equals(other[repeat]) and rows["fold"].nunique() == _n_folds(a)
    ]


def _n_folds(study: StudyTables) -> int:
    """Of a partition."""
    n_folds: int = study.description["plan"]["folds"]
    return n_folds


def compared(a: StudyTables, b: StudyTables, settings: str, metric: str) -> list[LevelRow]:
    """The levels of two comparisons; differences are tested where the studies share folds.

    Args:
        settings: tuned (with the paper's networks) or equal.
        metric: that is compared.
    """
    rows_a, rows_b = (_by_level(study.comparison, settings) for study in (a, b))
    repeats = shared_repeats(a, b)
    levels = _levels(a, b, {*rows_a, *rows_b})
    differences = {level: _difference(a, b, level, settings, metric, repeats) for level in levels}
    p_values = holm([np.nan if (found := differences[level]) is None else found.p for level in levels])
    return [
        LevelRow(
            level=level,
            a=rows_a[level][metric] if level in rows_a else None,
            b=rows_b[level][metric] if level in rows_b else None,
            a_over_folds=_over_folds(rows_a.get(level), metric),
            b_over_folds=_over_folds(rows_b.get(level), metric),
            difference=differences[level],
            p_holm=float(p),
        )
        for level, p in zip(levels, p_values, strict=True)
    ]


def searched(a: StudyTables, b: StudyTables, metric: str) -> list[LevelRow]:
    """The trial that stands for each level so far; it was chosen for its value, so nothing is tested."""
    best_a, best_b = (best_trials(_records(study.trials)) for study in (a, b))
    return [
        LevelRow(
            level=level,
            a=best_a[level][metric] if level in best_a else None,
            b=best_b[level][metric] if level in best_b else None,
        )
        for level in _levels(a, b, {*best_a, *best_b})
    ]


def outcome(study: StudyTables, metric: str) -> dict[str, Any]:
    """What a study has come to: winner, test score, best way of transfer, and what they cost."""
    description, states = study.description, study.trials["state"].value_counts()
    facts: dict[str, Any] = {"trials": ", ".join(f"{count} {state}" for state, count in states.items()) or None}
    facts["time_s"] = description.get("time", {}).get("elapsed")
    if "winner" not in description or "test" not in description:
        return facts
    level = description["winner"]["level"]
    facts |= {"winner": level, "test": description["test"], "test_scored": description.get("test_scored", 1)}
    row = _by_level(study.comparison, "tuned").get(level)
    if row is not None:
        facts |= {name: row[name] for name in ("macs", "n_parameters", "latency_ms")}
    ways = _records(study.transfer[study.transfer["level"] == level])
    if ways:
        best = max(ways, key=lambda way: way[metric])
        facts |= {"way": best["way"], "target": best["data"], "transferred": best[metric]}
    return facts


def same_test_set(a: StudyTables, b: StudyTables) -> bool:
    """Whether both were scored on the same locked images."""
    own, other = (set(study.predictions.loc[study.predictions["phase"] == "test", "image"]) for study in (a, b))
    return own == other and _same_source(a, b)


def _other_images(a: Mapping[str, Any], b: Mapping[str, Any]) -> Facts:
    """The data sets that differ, by their part in a study: the first is the source, the second the target."""
    parts = zip_longest(("images", "transfer images"), _data(a), _data(b))
    return {
        part: (_described(own), _described(other))
        for part, own, other in parts
        if (own and own["fingerprint"]) != (other and other["fingerprint"])
    }


def _data(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **data} for name, data in description["data"].items()]


def _described(data: Mapping[str, Any] | None) -> str | None:
    if data is None:
        return None
    return f"{data['name']}, {data['n_images']} of {len(data['classes'])} classes ({data['fingerprint'][:8]})"


def _space(description: Mapping[str, Any]) -> str:
    return f"{description['arguments']['space']} ({description['origin']['space'][:8]})"


def _settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments, and what the plan made of those that were left open."""
    plan = description["plan"]
    # An older study has no argument that came later, and ran as its default does.
    defaults = {field.name: field.default for field in fields(Arguments) if field.default is not MISSING}
    arguments = {**defaults, **description["arguments"]}
    planned = {name: plan[name] for name in ("search_folds", "finalists", "folds", "repeats")}
    planned |= {"profile": plan["profile_name"], "trials": plan["n_trials"]}
    of_profile = {f"profile: {name}": plan["profile"][name] for name in _PROFILE if name in plan["profile"]}
    asked = {name: value for name, value in arguments.items() if name not in ("space", "data", "transfer_data")}
    factor = {name: description[name] for name in ("factor", "levels", "reference")}
    return {**factor, **asked, **planned, **of_profile}


def _program(description: Mapping[str, Any]) -> dict[str, Any]:
    environment = description["environment"]
    return {
        "commit": environment["commit"],
        "code": description["origin"]["code"][:8],
        "python": environment["python"],
        **environment["versions"],
        "platform": environment["platform"],
    }


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Facts:
    names = dict.fromkeys([*a, *b])
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _same_source(a: StudyTables, b: StudyTables) -> bool:
    own, other = (_data(study.description)[0]["fingerprint"] for study in (a, b))
    return bool(own == other)


def _partitions(predictions: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """The fold of every image that the comparison scored, by repeat."""
    rows = predictions.loc[predictions["phase"] == "compare", [*_FOLD, "image"]].drop_duplicates()
    # A study that was tested has rows without a fold as well, and so floats for folds.
    rows = rows.astype(dict.fromkeys(_FOLD, int)).sort_values([*_FOLD, "image"])
    repeats = rows["repeat"].unique().tolist()
    return {repeat: rows[rows["repeat"] == repeat].reset_index(drop=True) for repeat in repeats}


def _of_settings(rows: pd.DataFrame, settings: str) -> pd.DataFrame:
    """The rows of some settings; the paper's networks, which have none, stand beside the tuned levels."""
    return rows[rows["settings"].fillna("tuned") == settings]


def _difference(
    a: StudyTables, b: StudyTables, level: str, settings: str, metric: str, repeats: list[int]
) -> Difference | None:
    """Of a level that both have scored on all the folds they share."""
    own, other = (_folds_of(study, level, settings, repeats) for study in (a, b))
    if len(own) != len(repeats) * _n_folds(a) or own.empty or not own.index.equals(other.index):
        return None
    n_train, n_val = own["n_train"].mean(), own["n_val"].mean()
    return paired_difference(other[metric].to_numpy(float), own[metric].to_numpy(float), n_train, n_val)


def _folds_of(study: StudyTables, level: str, settings: str, repeats: list[int]) -> pd.DataFrame:
    """A level's folds by repeat and fold; what is tuned to the equal settings is on record as tuned, once."""
    if level not in set(_of_settings(study.comparison, settings)["level"]):
        return study.folds.iloc[:0].set_index(_FOLD)
    rows = study.folds[(study.folds["phase"] == "compare") & (study.folds["level"] == level)]
    own = _of_settings(rows, settings)
    rows = own if len(own) else _of_settings(rows, "tuned")
    return rows[rows["repeat"].isin(repeats)].set_index(_FOLD).sort_index()


def _levels(a: StudyTables, b: StudyTables, found: Set[str]) -> list[str]:
    """The levels that were found, in the order of A's space, then of B's, the paper's networks last."""
    known = dict.fromkeys([*a.description["levels"], *b.description["levels"], *PAPER_LEVELS])
    return [level for level in known if level in found]


def _by_level(comparison: pd.DataFrame, settings: str) -> dict[str, dict[str, Any]]:
    """The comparison's rows of some settings, in their order."""
    return {row["level"]: row for row in _records(_of_settings(comparison, settings))}


def _over_folds(row: Mapping[str, Any] | None, metric: str) -> Interval | None:
    if row is None or row[f"{metric}_low"] is None:
        return None
    return Interval(*(row[f"{metric}_{end}"] for end in ("mean", "low", "high")))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None where a frame has NaN."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
