"""The charts of a page as plain values for its script."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from search.analysis.front import front_above_noise
from search.analysis.verdict import Finding, Verdict
from search.records.arguments import METRICS
from search.records.results import Results
from search.report.figures.levels import pareto_front
from search.report.figures.parameters import importances
from search.report.format import metric_name, missing, overall, setting_name, way_name
from search.report.page.bylevel import by_level

DIGITS = 5
Chart = dict[str, Any]


def chart_data(results: Results, found: Verdict | None) -> Chart:
    """All values that the charts show.

    Returns:
        `levels` (names, numbered from 0 by every other part) and the charts that have data. A chart of rows has
        `rows` of a name and the numbers of its levels, and `panels` to choose from, each with `series` of `mid`,
        `low` and `high` by row.
    """
    description = results.description
    levels = list(dict.fromkeys([*results.trials["level"].dropna(), *results.comparison["level"]]))
    number = {level: place for place, level in enumerate(levels)}
    data: Chart = {
        "levels": levels,
        "factor": (description.factor or "network").replace("_", " "),
        "metric": metric_name(description.metric),
        "trials": _trials(results, number),
        "importance": _importance(results),
        "transfer": _transfer(results, number),
    }
    if found is None:
        return data
    advice = found.recommendation
    margin = description.arguments.margin
    effects = description.effects.items()
    having = {name: [number[level] for level in own if level in number] for name, own in effects}
    return data | {
        "chosen": number[found.winner if advice is None else advice.level],
        "effects": _contrasts([(found.main, found.by_setting), *((f, ()) for f in found.others.values())],
                              results, number, having, margin),
        "interactions": _contrasts([(found.interactions, ())], results, number, {}, margin),
        "scores": _scores(results, number),
        "costs": _costs(results, found, number),
        **by_level(results, levels),
    }  # fmt: skip


def rounded(values: Any) -> list[float | None]:
    """Numbers as JSON takes them."""
    return [None if missing(value) else round(float(value), DIGITS) for value in values]


def _contrasts(
    families: Sequence[tuple[Sequence[Finding], Sequence[Finding]]],
    results: Results,
    number: dict[str, int],
    having: dict[str, list[int]],
    margin: float,
) -> Chart | None:
    """Families of the same contrasts, one panel each; those at single settings are small marks."""
    families = [(family, at) for family, at in families if family]
    if not families:
        return None
    contrasts = [finding.contrast for finding in families[0][0]]
    lights = having | {f.contrast: [number[f.level]] for f in families[0][0] if f.level in number}
    panels = []
    for family, at in families:
        scale = 100 if family[0].in_points else 1
        mid, low, high = (
            rounded(scale * getattr(finding, name) for finding in family) for name in ("estimate", "low", "high")
        )
        series = [{"mid": mid, "low": low, "high": high, "looks": [finding.outcome for finding in family]}]
        for setting in sorted({finding.setting for finding in at if finding.setting is not None}):
            own = {finding.contrast: scale * finding.estimate for finding in at if finding.setting == setting}
            name, at_setting = f"at {setting_name(results.description, setting)}", map(own.get, contrasts)
            series.append({"name": name, "mid": rounded(at_setting), "mark": True})
        name = metric_name(family[0].metric)
        unit = "points" if family[0].in_points else "difference"
        panels.append(
            {"label": name, "unit": f"{unit}, right is better", "signed": True, "series": series}
            | ({"band": margin} if family[0].in_points else {})
        )
    return {"rows": [(contrast, lights.get(contrast, [])) for contrast in contrasts], "panels": panels}


def _scores(results: Results, number: dict[str, int]) -> Chart | None:
    """Every level's scores with their intervals, and at single settings."""
    rows = pd.concat([results.levels, results.paper])
    if len(rows) < 2:
        return None
    at = results.at_settings
    settings = sorted(at["setting"].astype(int).unique())
    panels = []
    for metric in dict.fromkeys((results.description.metric, *METRICS, "sensitivity", "specificity")):
        series: list[Chart] = [_series(rows, metric)]
        for setting in settings if len(settings) > 1 else ():
            own = at[at["setting"] == setting].set_index("level")[f"{metric}_mean"]
            name = f"at {setting_name(results.description, setting)}"
            series.append({"name": name, "mid": rounded(own.reindex(rows["level"])), "mark": True})
        panels.append({"label": metric_name(metric), "unit": "mean over folds, 95 % interval", "series": series})
    return {"rows": [(level, [number[level]]) for level in rows["level"]], "panels": panels}


def _series(rows: pd.DataFrame, metric: str) -> Chart:
    low, high = (rows[f"{metric}_{end}"].clip(0, 1) for end in ("low", "high"))
    return {"mid": rounded(rows[f"{metric}_mean"]), "low": rounded(low), "high": rounded(high)}


def _costs(results: Results, found: Verdict, number: dict[str, int]) -> Chart | None:
    """Scores and costs of the levels, and what is needed to weigh one against the other."""
    rows = pd.concat([results.levels, results.paper])
    if len(rows) < 2:
        return None
    metric, advice = results.description.metric, found.recommendation
    chart: Chart = {
        "level": [number[level] for level in rows["level"]],
        "costs": {
            "multiply-adds, millions": rounded(rows["macs"] / 1e6),
            "parameters, millions": rounded(rows["n_parameters"] / 1e6),
        },
        "scores": {
            metric_name(name): rounded(rows[name])
            for name in dict.fromkeys((metric, *METRICS, "sensitivity", "specificity"))
        },
    }
    if advice is None:
        return chart
    whole = overall(results, metric)
    macs = dict(zip(results.levels["level"], results.levels["macs"], strict=True))
    scored = pd.DataFrame({"level": macs.keys(), "macs": macs.values(), "score": [whole[level] for level in macs]})
    shown = front_above_noise(macs, advice, found.main, results.description.reference)
    gains = {
        finding.level: finding for finding in found.main if finding.level is not None and finding.level in macs
    }
    return chart | {
        "weighed": {
            "points": {number[level]: round(100 * whole[level], 3) for level in macs},
            "macs": {number[level]: round(cost / 1e6, 4) for level, cost in macs.items()},
            "shown": [number[level] for level in shown],
            "estimated": [number[level] for level in pareto_front(scored, "macs", "score")["level"]],
            "reference": number.get(results.description.reference),
            "gains": {
                number[level]: [finding.text(finding.estimate), finding.interval, finding.outcome]
                for level, finding in gains.items()
            },
        }
    }


def _trials(results: Results, number: dict[str, int]) -> Chart | None:
    """What the search tried, by column."""
    trials = results.trials.sort_values("number")
    if trials.empty:
        return None
    parameters = [name for name in trials.columns if name.startswith("params_") and trials[name].nunique() > 1]
    log = results.log_parameters
    return {
        "number": trials["number"].astype(int).tolist(),
        "level": [number.get(level) for level in trials["level"]],
        "state": trials["state"].tolist(),
        "value": rounded(trials["value"]),
        "about": {
            name: [None if missing(value) else int(value) for value in trials[column]]
            for name, column in (("setting", "setting"), ("folds", "folds_done"), ("epochs", "epochs"))
        },
        "parameters": [
            {"name": name.removeprefix("params_"), "log": name.removeprefix("params_") in log}
            | {"values": _plain(trials[name])}
            for name in parameters
        ],
    }


def _plain(values: pd.Series) -> list[Any]:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return [None if missing(value) else float(f"{value:.5g}") for value in values]
    return [None if missing(value) else str(value) for value in values]


def _importance(results: Results) -> Chart | None:
    rows = importances(results.trials, results.description.factor, results.log_parameters)
    if rows.empty:
        return None
    unit = "not normalised"
    series = [{"mid": rounded(rows["importance"]), "bar": True}]
    names: list[tuple[str, list[int]]] = [
        (f"{row.name} (n = {row.n_trials})", []) for row in rows.itertuples(index=False)
    ]
    return {"rows": names, "panels": [{"label": "importance", "unit": unit, "series": series}]}


def _transfer(results: Results, number: dict[str, int]) -> Chart | None:
    """Every network and way on the target."""
    rows = pd.concat([results.transfer, results.untouched])
    if rows.empty:
        return None
    levels = list(dict.fromkeys(rows["level"]))
    panels = []
    for metric in ("accuracy", "sensitivity", "specificity"):
        series = []
        for way, own in rows.groupby("way", sort=False):
            of_way = own.drop_duplicates("level").set_index("level").reindex(levels)
            series.append({"name": way_name(str(way)), **_series(of_way, metric)})
        panels.append({"label": metric, "unit": "mean, 95 % interval", "series": series})
    return {"rows": [(level, [number[level]] if level in number else []) for level in levels], "panels": panels}
