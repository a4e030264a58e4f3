"""Small studies to analyse and compare: a description and rows of tables, all made up."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from search.analysis.pooling import score_columns
from search.common.metrics import METRIC_NAMES, score
from search.records.arguments import Arguments
from search.records.description import parse_description
from search.records.ledger import Ledger
from search.records.results import Results
from search.records.schema import KEY_COLUMNS, TABLES, field_of
from search.space import PAPER_PROFILE

METRIC = "balanced_accuracy"
LEVELS = ("none", "1", "2")
PAPER = ("paper_plain", "paper_wbcsnet2")
SIZES = {"n_parameters": 1_234_567, "macs": 23_400_000, "latency_ms": 1.25}


def describe(
    *, levels=LEVELS, images=60, n_folds=10, repeats=1, seed=0, fingerprint="same", metric=METRIC, tested=False
):
    """The content of a `study.json`."""
    arguments = Arguments(space="residual_placement", data="cells", seed=seed, metric=metric)
    data = {"fingerprint": fingerprint, "n_images": images, "classes": {"a": images - 9, "b": 9}}
    description = {
        "arguments": asdict(arguments), "question": "?",
        "factor": "placement", "levels": levels, "reference": "none",
        "plan": {
            "profile_name": "quick", "profile": asdict(PAPER_PROFILE), "n_trials": 6, "search_folds": 3,
            "shares_settings": True, "compare_settings": 2, "folds": n_folds, "repeats": repeats,
            "most_runs": 2 * repeats, "looks": [2 * repeats], "phases": [],
        },
        "origin": {"space": "5face" * 8, "code": "c0de" * 8},
        "data": {"cells": data, "others": {**data, "fingerprint": "target"}},
        "environment": {"python": "3.11", "platform": "Linux", "commit": "abc", "versions": {"torch": "2.15"}},
        "started": "2026-11-24T08:00:00+00:00", "phases_done": [],
    }  # fmt: skip
    if tested:
        description |= {"winner": {"level": "1", "setting": 0}, "test": dict.fromkeys(METRIC_NAMES, 0.75)}
    return json.loads(json.dumps(description))


def make_study(*, network=0, tested=True, **options):
    """A study's description, and the rows of its tables by name.

    Args:
        network: two studies of the same network have the same scores on the same images.
        tested: it is finished; without, it was interrupted after the comparison.
        options: see `describe`; the seed is that of the partition into folds.
    """
    description = describe(tested=tested, **options)
    levels, metric, seed = (
        description["levels"],
        description["arguments"]["metric"],
        description["arguments"]["seed"],
    )
    images, n_folds = description["data"]["cells"]["n_images"], description["plan"]["folds"]
    rows = {"trials": [], "folds": [], "predictions": [], "comparison": [], "transfer": []}
    for number in range(2 * len(levels)):
        setting, place = divmod(number, len(levels))
        trial = {"number": number, "level": levels[place], "setting": setting, "state": "COMPLETE"}
        value = 0.5 + 0.01 * number + 0.1 * network
        rows["trials"].append({"phase": "search", **trial, "value": value, metric: value})
    runs = [(repeat % 2, repeat) for repeat in range(2 * description["plan"]["repeats"])]
    labels = np.arange(images) < 9  # of class b
    for nth, level in enumerate([*levels, *PAPER]):
        for setting, repeat in runs if level in levels else [(None, 0)]:
            of_fold = np.random.default_rng([seed, repeat]).permutation(images) % n_folds
            share = np.random.default_rng([network, nth, repeat]).beta(5, 2, images)  # of the true class
            shares = np.where(labels, [1 - share, share], [share, 1 - share]).T
            key = {"phase": "compare", "level": level, "setting": setting, "data": "cells", "repeat": repeat}
            for fold in range(n_folds):
                own, where = np.flatnonzero(of_fold == fold), {**key, "fold": fold}
                scores = asdict(score(labels[own].astype(int), shares[own]))
                rows["folds"].append({**where, "n_train": images - len(own), "n_val": len(own), **scores})
                for image in own:
                    predicted = {"probability_a": shares[image, 0], "probability_b": shares[image, 1]}
                    named = {"image": f"{image}.png", "label": "ab"[int(labels[image])]}
                    rows["predictions"].append(
                        {**where, **named, "predicted": "ab"[shares[image].argmax()], **predicted}
                    )
    folds, predictions = pd.DataFrame(rows["folds"]), pd.DataFrame(rows["predictions"])
    for level, setting in [(level, n) for level in levels for n in (0, 1, None)] + [
        (level, None) for level in PAPER
    ]:
        own = [
            part[(part["level"] == level) & ((part["setting"] == setting) | (setting is None))]
            for part in (folds, predictions)
        ]
        row = {"phase": "compare", "level": level, "setting": setting, "data": "cells"}
        row |= SIZES | score_columns(*own, ["a", "b"])
        estimate = None if setting is None else row[metric]
        rows["comparison"].append(row | {"estimate_shrunken": estimate})
    if tested:
        key = {"phase": "test", "level": "1", "setting": 0, "data": "cells"}
        rows["predictions"] += [{**key, "image": f"locked {image}.png"} for image in range(9)]
        key |= {"phase": "transfer", "data": "others"}
        for way, value in (("scratch", 0.7), ("frozen", 0.6), ("fine_tuned", 0.8)):
            rows["transfer"].append({**key, "way": way, **dict.fromkeys(METRIC_NAMES, value)})
    return description, rows


def make_results(**options):
    """A study as its reader gives it."""
    description, rows = make_study(**options)
    return as_results(description, rows)


def as_results(description, rows):
    """Results of a description and of rows by table; rows of no table are none."""
    tables = {name: frame(name, rows.get(name, [])) for name in TABLES}
    return Results(Path("study"), parse_description(description, Path("study.json")), tables)


def frame(table, rows):
    """Rows as a study's folder gives them back."""
    shares = dict.fromkeys(name for row in rows for name in row if name.startswith("probability_"))
    schema = pa.schema([field_of(name) for name in (*KEY_COLUMNS, *TABLES[table], *shares)])
    return pa.Table.from_pylist(rows, schema=schema).to_pandas()


def with_tables(results, **tables):
    """The results with other tables."""
    return replace(results, tables={**results.tables, **tables})


def write_study(folder, **options):
    folder.mkdir()
    description, rows = make_study(**options)
    (folder / "study.json").write_text(json.dumps(description), encoding="utf-8")
    ledger = Ledger(folder)
    for name in rows:
        ledger.replace(name, rows[name])
    ledger.close()
    return folder
