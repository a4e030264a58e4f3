"""The levels of a comparison side by side: score, difference, what is shown of it, and cost."""

import pandas as pd

from search.analysis.families import Kind
from search.analysis.verdict import Verdict
from search.records.results import Results
from search.report.format import overall

COLUMNS = (
    *("level", "estimate", "estimate_low", "estimate_high", "difference_from_best"),
    *("difference", "difference_low", "difference_high", "p", "outcome", "recommended", "ruled_out_by"),
    *("n_parameters", "macs", "latency_ms"),
)


def leaderboard(results: Results, found: Verdict) -> pd.DataFrame:
    """One row for each level, in the order of the space, then one for each of the paper's networks.

    Returns:
        level;
        estimate: the deciding metric, a fraction, pooled over folds and settings;
        estimate_low, estimate_high: 95 % interval of its mean over folds; null in older studies;
        difference_from_best: estimate minus the highest one of a level; null for the paper's networks, which have
        settings of their own;
        difference, difference_low, difference_high, p, outcome: against the reference, a row of the effects table;
        recommended: whether the verdict says to use this level;
        ruled_out_by: what is shown to beat it; null where nothing is;
        n_parameters, macs, latency_ms: what it costs.
    """
    metric, reference = results.description.metric, results.description.reference
    frame = pd.concat([results.levels, results.paper], ignore_index=True)
    whole = overall(results, metric)
    frame["estimate"] = frame["level"].map(whole).fillna(frame[metric])
    for end in ("low", "high"):
        frame[f"estimate_{end}"] = float("nan") if results.description.is_older else frame[f"{metric}_{end}"]
    frame["difference_from_best"] = frame["level"].map(whole) - max(whole.values())
    pairs = {f.level: f for f in found.main if f.kind == Kind.PAIR and f.contrast.endswith(f" − {reference}")}
    numbers = {"difference": "estimate", "difference_low": "low", "difference_high": "high", "p": "p"}
    for column, name in numbers.items():
        frame[column] = frame["level"].map({level: getattr(pair, name) for level, pair in pairs.items()})
    frame["outcome"] = frame["level"].map({level: pair.outcome for level, pair in pairs.items()}).astype(object)
    advice = found.recommendation
    frame["recommended"] = advice is not None and advice.is_judged and frame["level"] == advice.level
    frame["ruled_out_by"] = frame["level"].map({} if advice is None else advice.beaten).astype(object)
    return frame[list(COLUMNS)]
