"""The parameters of the search: their importance, and their values in good and bad trials."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from search.report.figures.intervals import ROW_INCHES
from search.report.figures.style import BLUE, WIDTH_INCHES, new_figure, styled
from search.report.format import metric_name

# With fewer trials, the best quarter is one or two, which differ from the others in everything.
FEWEST_TRIALS = 12
BEST_SHARE = 0.25
# Numbers with at most so many distinct values are treated as choices.
MOST_CHOICES = 6
RAIL = -0.16  # height of lines at a parameter that they lack, below axes from 0 to 1


@styled
def draw_importance(trials: pd.DataFrame, factor: str | None, log: Collection[str]) -> Figure | None:
    """Draw how important each parameter, and the factor, is for being among the best trials.

    Args:
        trials: the trials table.
        factor: that the levels are values of.
        log: parameters searched on a logarithmic scale.
    Returns:
        The figure; None if no parameter varies over enough complete trials.
    """
    rows = importances(trials, factor, log)
    if rows.empty:
        return None
    figure = new_figure(1.4 + ROW_INCHES * len(rows))
    axes = figure.subplots()
    names = [f"{row.name}  (n = {row.n_trials})" for row in rows.itertuples(index=False)]
    axes.barh(range(len(rows)), rows["importance"], height=0.6, color=BLUE)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("PED-ANOVA importance for being in the best quarter\nof the n trials that have the parameter")
    figure.suptitle("Importance of the parameters over COMPLETE trials of all levels")
    return figure


def importances(trials: pd.DataFrame, factor: str | None, log: Collection[str]) -> pd.DataFrame:
    """Compute the importance of each parameter among the trials that have it.

    A parameter of one branch of a space is null in the others, so only the trials of its branch are used, and
    importances over different n are only roughly comparable.

    Args:
        trials, factor, log: as in `draw_importance`.
    Returns:
        `name`, `importance` (not normalised) and `n_trials`, the most important first. Parameters with a single
        value or fewer than FEWEST_TRIALS trials are left out.
    Source: S. Watanabe et al., PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary
    subspaces, IJCAI (2023), as implemented in Optuna.
    """
    complete = trials[(trials["state"] == "COMPLETE") & trials["value"].notna()]
    found = []
    for name, values in _parameters(complete, factor).items():
        tried = values.dropna()
        scores = complete.loc[tried.index, "value"]
        if len(tried) >= FEWEST_TRIALS and tried.nunique() > 1 and scores.nunique() > 1:
            found.append((name, _importance(tried, scores, name in log), len(tried)))
    rows = pd.DataFrame(found, columns=["name", "importance", "n_trials"])
    return rows.sort_values("importance", ascending=False, ignore_index=True)


@styled
def draw_parallel(trials: pd.DataFrame, factor: str | None, log: Collection[str], metric: str) -> Figure | None:
    """Draw each complete trial as a line through its parameters to its value, darker for better trials.

    Optuna's plot of this kind is of one study, has no factor, and loses the log scale of a parameter that is null
    in some trials.

    Args:
        trials, factor, log: as in `draw_importance`.
        metric: that was searched.
    Returns:
        The figure, with a rail below the axes for lines that lack a parameter; None if no parameter varies over
        complete trials.
    """
    trials = trials.sort_values("number", ignore_index=True)
    complete = trials[(trials["state"] == "COMPLETE") & trials["value"].notna()].sort_values("value")
    parameters = {n: values for n, values in _parameters(complete, factor).items() if values.nunique() > 1}
    if not parameters:
        return None
    tried = _parameters(trials, factor)
    scales = [
        _choices(name, values, tried[name]) if _is_choice(values) else _numbers(name, values, name in log)
        for name, values in parameters.items()
    ]
    scales.append(_numbers(metric_name(metric), complete["value"], log=False))
    heights = np.column_stack([scale.heights for scale in scales])
    figure = new_figure(4.2, max(WIDTH_INCHES, 1.25 * len(scales)))
    axes = figure.subplots()
    colours = matplotlib.colormaps["cividis_r"](np.linspace(0.1, 1, len(complete)))
    for line, colour in zip(np.where(np.isnan(heights), RAIL, heights), colours, strict=True):
        axes.plot(range(len(scales)), line, color=colour, linewidth=1.1, alpha=0.8)
    if np.isnan(heights).any():
        axes.axhline(RAIL, color="0.5", linestyle=":", linewidth=1)
        axes.text(-0.06, RAIL, "not set", ha="right", va="center", fontsize=8)
    for place, scale in enumerate(scales):
        _draw_scale(axes, place, scale)
    axes.set_xticks(range(len(scales)), [scale.name for scale in scales])
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0, pad=6)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"The {len(complete)} COMPLETE trials of the search: darker lines are better")
    return figure


@dataclass(frozen=True)
class _Scale:
    """A vertical axis: heights at which trials cross it (NaN: not set), and ticks as (height, text)."""

    name: str
    heights: NDArray[np.float64]
    ticks: list[tuple[float, str]]


def _parameters(trials: pd.DataFrame, factor: str | None) -> dict[str, pd.Series]:
    """The factor and all parameters, by name."""
    columns = [name for name in trials.columns if name.startswith("params_")]
    return {factor or "level": trials["level"], **{name.removeprefix("params_"): trials[name] for name in columns}}


def _is_choice(values: pd.Series) -> bool:
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return not numeric or values.nunique() <= MOST_CHOICES


def _importance(values: pd.Series, scores: pd.Series, log: bool) -> float:
    """The importance of a parameter that all trials have."""
    distribution: BaseDistribution
    tried: list[Any]
    if _is_choice(values):
        tried = [str(value) for value in values]
        distribution = CategoricalDistribution(sorted(set(tried)))
    else:
        tried = values.astype(float).tolist()
        distribution = FloatDistribution(min(tried), max(tried), log=log)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(params={"it": value}, distributions={"it": distribution}, value=score)
            for value, score in zip(tried, scores, strict=True)
        ]
    )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # for `normalize`
        return get_param_importances(study, evaluator=evaluator, normalize=False)["it"]


def _choices(name: str, values: pd.Series, tried: pd.Series) -> _Scale:
    """Numbers by size; names in the order in which trials first tried them, which for levels is the space's."""
    numeric = pd.api.types.is_numeric_dtype(values)
    chosen = set(values.dropna())
    names = sorted(chosen) if numeric else [value for value in tried.dropna().unique() if value in chosen]
    places = np.linspace(0, 1, len(names)) if numeric else np.linspace(1, 0, len(names))
    heights = values.map(dict(zip(names, places, strict=True))).to_numpy(float)
    # Otherwise lines of the same choices would cover each other.
    heights = heights + np.linspace(-0.025, 0.025, len(heights))
    texts = [f"{value:g}" if numeric else str(value) for value in names]
    return _Scale(name, heights, list(zip(places, texts, strict=True)))


def _numbers(name: str, values: pd.Series, log: bool) -> _Scale:
    numbers = values.to_numpy(float)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    if log:
        heights = np.log(numbers / low) / np.log(high / low)
        ends = np.geomspace(low, high, 5)
    else:
        heights = (numbers - low) / ((high - low) or 1.0)
        ends = np.linspace(low, high, 5)
    return _Scale(
        name, heights, [(place, f"{end:.3g}") for place, end in zip(np.linspace(0, 1, 5), ends, strict=True)]
    )


def _draw_scale(axes: Axes, place: int, scale: _Scale) -> None:
    axes.plot([place, place], [0, 1], color="black", linewidth=1, zorder=3)
    for height, text in scale.ticks:
        axes.plot(place, height, "_", color="black", markersize=6, zorder=3)
        axes.text(
            place - 0.06, height, text, ha="right", va="center", fontsize=8, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        )  # fmt: skip
