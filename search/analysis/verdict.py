"""What a study's comparison says in words, and never more than its numbers do; frames in, values out.

The rule: a difference is settled where the corrected resampled t test against the reference, adjusted by Holm over
the levels, gives p < 0.05. Probabilities of practical equivalence and McNemar's test stand beside it and decide
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.analysis.outlook import POWER, Outlook, outlook
from search.analysis.statistics import interval_over_folds
from search.space import PAPER_LEVELS

ALPHA = 0.05
Outcome = Literal["better", "worse", "not settled"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One level against the reference, at one kind of settings.

    Attributes:
        settings: tuned (each level at its best) or equal (all at the same).
        points, low, high: difference of the searched metric and its 95 % interval, in points of 100.
        outlook: what would settle it; None where it is settled or too few folds say anything.
    """

    level: str
    reference: str
    settings: str
    metric: str
    points: float
    low: float
    high: float
    p_holm: float
    p_mcnemar: float
    p_better: float
    p_equal: float
    p_worse: float
    outlook: Outlook | None

    @property
    def outcome(self) -> Outcome:
        """By the rule above."""
        if not self.p_holm < ALPHA:  # NaN, where there is one fold, settles nothing either
            return "not settled"
        return "better" if self.points > 0 else "worse"

    def sentence(self, factor: str | None) -> str:
        """The finding in one sentence; a level is called by its factor, as in "placement 1+2"."""
        name, reference = level_name(factor, self.level), level_name(factor, self.reference)
        if self.outcome == "not settled":
            than = "better" if self.points > 0 else "worse"
            seen = f"came out {abs(self.points):.1f} points {than} than {reference}"
            if round(abs(self.points), 1) == 0:
                seen = f"came out level with {reference}"
            ending = "not settled"
        else:
            seen = f"is {self.outcome} than {reference} by {abs(self.points):.1f} points"
            ending = "settled"
        p = p_text(self.p_holm)
        how_sure = "" if np.isnan(self.p_holm) else f" (p {'' if '<' in p else '= '}{p} after Holm's correction)"
        return f"{name} {seen}{self._interval}: {ending}{how_sure}."

    @property
    def _interval(self) -> str:
        if np.isnan(self.low):
            return ", by one fold, which has no interval"
        return f" (95 % interval {signed(self.low)} to {signed(self.high)})"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a comparison says.

    Attributes:
        winner: the level with the best pooled metric at its best settings.
        headline: which level came out best, and whether that is settled.
        sentences: the rest, most important first.
        findings: of every level, tuned before equal.
    """

    winner: str
    headline: str
    sentences: tuple[str, ...]
    findings: tuple[Finding, ...]


def verdict(comparison: pd.DataFrame, folds: pd.DataFrame, description: Mapping[str, Any]) -> Verdict | None:
    """Say what a comparison has come to; None where no level was compared yet.

    Args:
        comparison, folds: the tables of these names.
        description: content of `study.json`.
    """
    tuned = comparison[comparison["settings"] == "tuned"] if len(comparison) else comparison
    if tuned.empty:
        return None
    metric, reference = description["arguments"]["metric"], description["reference"]
    factor = description["factor"]
    best = tuned.iloc[int(tuned[metric].argmax())]
    winner = str(best["level"])
    found = findings(comparison, folds, description)
    of_winner = {finding.settings: finding for finding in found if finding.level == winner}
    name, rival = level_name(factor, winner), level_name(factor, reference)
    sentences = []
    if winner == reference:
        headline = _reference_won(found, name, factor)
        nearest = nearest_rival(found)
        sentences += [] if nearest is None else [nearest.sentence(factor)]
    elif "tuned" not in of_winner:
        headline = f"{name} came out best; {rival} was not compared, so there is nothing to be better than."
    else:
        tuned_finding = of_winner["tuned"]
        settled = tuned_finding.outcome == "better"
        headline = f"{name} came out best, and is better than {rival}." if settled else (
            f"{name} came out best; that it is better than {rival} is not settled."
        )  # fmt: skip
        sentences.append(tuned_finding.sentence(factor))
        sentences.append(_chances(tuned_finding))
        if "equal" in of_winner:
            sentences.append("At equal settings, " + of_winner["equal"].sentence(factor))
        if tuned_finding.outlook is not None:
            sentences.append(_outlook(tuned_finding.outlook, description["plan"]["repeats"]))
    sentences += _beside(tuned, folds, winner, metric)
    return Verdict(
        winner=winner,
        headline=headline[0].upper() + headline[1:],
        sentences=tuple(sentence[0].upper() + sentence[1:] for sentence in sentences),
        findings=tuple(found),
    )


def findings(comparison: pd.DataFrame, folds: pd.DataFrame, description: Mapping[str, Any]) -> list[Finding]:
    """Every level against the reference, tuned and at equal settings, in the order of the comparison table."""
    metric, reference = description["arguments"]["metric"], description["reference"]
    found = []
    for settings in ("tuned", "equal"):
        # The paper's networks have no settings, and stand beside the tuned levels.
        together = comparison["settings"].eq(settings) | (comparison["settings"].isna() & (settings == "tuned"))
        rows = comparison[together & (comparison["level"] != reference)]
        n_tests = int(rows["p_holm"].notna().sum())
        for _, row in rows[rows["difference_reference"].notna()].iterrows():
            paired = _paired(folds, str(row["level"]), reference, settings, metric)
            settled = _number(row["p_holm"]) < ALPHA
            wanted = None if settled or n_tests == 0 else _outlook_of(paired, n_tests)
            found.append(
                Finding(
                    level=str(row["level"]),
                    reference=reference,
                    settings=settings,
                    metric=metric,
                    points=100 * row["difference_reference"],
                    low=100 * _number(row["difference_reference_low"]),
                    high=100 * _number(row["difference_reference_high"]),
                    p_holm=_number(row["p_holm"]),
                    p_mcnemar=_number(row["p_mcnemar"]),
                    p_better=_number(row["p_better"]),
                    p_equal=_number(row["p_equal"]),
                    p_worse=_number(row["p_worse"]),
                    outlook=wanted,
                )
            )
    return found


def nearest_rival(found: Sequence[Finding]) -> Finding | None:
    """Of the levels at their best settings, the one that came nearest to the reference or furthest beyond it."""
    levels = [finding for finding in found if finding.settings == "tuned" and finding.level not in PAPER_LEVELS]
    return max(levels, key=lambda finding: finding.points, default=None)


def level_name(factor: str | None, level: str) -> str:
    """A level in a sentence."""
    paper = {"paper_plain": "the paper's plain network", "paper_wbcsnet2": "the paper's WBCsNet-2"}
    if level in PAPER_LEVELS:
        return paper[level]
    return "the searched network" if factor is None else f"{factor.replace('_', ' ')} {level}"


def p_text(p: float) -> str:
    """A p value for a reader."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def signed(points: float) -> str:
    """A number with its sign, the minus as a minus."""
    return f"{round(points, 1) + 0.0:+.1f}".replace("-", "−")  # no minus before zero


def _reference_won(found: list[Finding], name: str, factor: str | None) -> str:
    rivals = [finding for finding in found if finding.settings == "tuned"]
    beaten = [finding for finding in rivals if finding.outcome == "worse"]
    if not rivals:
        return f"{name} stands alone: nothing was compared with it."
    others = "other network" if factor is None else factor.replace("_", " ")
    ahead = [level_name(factor, finding.level) for finding in rivals if finding.outcome == "better"]
    if ahead:
        # The pooled score and the mean over folds need not agree, and the test is of the folds.
        return f"{name}, the reference, came out best of all pooled, but fold by fold {ahead[0]} is better."
    if len(beaten) == len(rivals):
        return f"{name}, the reference, came out best, and is better than every {others}."
    return f"{name}, the reference, came out best; no {others} is shown to be better."


def _chances(finding: Finding) -> str:
    if np.isnan(finding.p_better):
        return "One fold says nothing of how probable that is."
    return (
        f"Given these folds, it is better by over 1 point with probability {_percent(finding.p_better)}, within "
        f"1 point with {_percent(finding.p_equal)}, and worse by over 1 point with {_percent(finding.p_worse)}."
    )


def _outlook(wanted: Outlook, has: int) -> str:
    if wanted.repeats is not None:
        return (
            f"More repeats could settle it: if the difference stays as it is, about {wanted.repeats} partitions "
            f"into folds in all (--repeats {wanted.repeats}; this study has {has})."
        )
    if wanted.images is None:
        return "No number of repeats or images would tell apart what came out the same."
    return (
        "Only more images can settle it, not more repeats of these: if the true difference is as large as it came "
        f"out, about {_rounded(wanted.images)} images to search and compare on, for a chance of {POWER:.0%} (this "
        f"study has {wanted.images_now:,}).".replace("%", " %")
    )


def _beside(tuned: pd.DataFrame, folds: pd.DataFrame, winner: str, metric: str) -> list[str]:
    """Which other levels the winner does not stand out from; this describes, since it was chosen as the best."""
    reach = {}  # how far up the interval goes of a level's difference from the winner
    for level in tuned.loc[tuned["level"] != winner, "level"]:
        differences, n_train, n_test, _ = _paired(folds, str(level), winner, "tuned", metric)
        if len(differences) > 1:
            reach[level] = interval_over_folds(differences, n_train, n_test).high
    others = tuned[tuned["level"].isin(list(reach))]
    near = others[others["level"].map(reach) >= 0]
    if others.empty:
        return []
    if near.empty:
        return ["The 95 % interval of every other level's difference from it lies below zero."]
    sentence = (
        f"Not told apart from it by their 95 % intervals: {', '.join(near['level'])} "
        f"({len(near)} of the {len(others)} other levels)."
    )
    cheapest = near.sort_values("macs", kind="stable").iloc[0]
    share = cheapest["macs"] / tuned.loc[tuned["level"] == winner, "macs"].iloc[0]
    if share < 1:
        sentence += f" The cheapest of them, {cheapest['level']}, takes {_percent(share)} of its multiply-adds."
    return [sentence]


def _outlook_of(paired: tuple[NDArray[Any], float, float, int], n_tests: int) -> Outlook | None:
    differences, n_train, n_test, n_folds = paired
    if len(differences) < 2:
        return None
    return outlook(
        differences,
        n_train=n_train,
        n_test=n_test,
        n_folds=n_folds,
        alpha=ALPHA / n_tests,  # Holm's harshest factor, which the best level has to pass first
    )


def _paired(
    folds: pd.DataFrame, level: str, reference: str, settings: str, metric: str
) -> tuple[NDArray[Any], float, float, int]:
    """Differences on the folds that both have, sizes of a fold's parts, and folds of a partition."""
    compared = folds[folds["phase"] == "compare"]
    own, other = (_folds_of(compared, name, settings) for name in (level, reference))
    differences = (own[metric] - other[metric]).dropna().to_numpy(float)  # a study that goes on has lone folds
    return differences, own["n_train"].mean(), own["n_val"].mean(), compared["fold"].nunique()


def _folds_of(folds: pd.DataFrame, level: str, settings: str) -> pd.DataFrame:
    """A level's folds by repeat and fold; what is tuned to the equal settings is on record as tuned, once."""
    rows = folds[folds["level"] == level]
    kinds = rows["settings"].fillna("tuned")
    rows = rows[kinds == (settings if (kinds == settings).any() else "tuned")]
    return rows.set_index(["repeat", "fold"]).sort_index()


def _number(value: Any) -> float:
    return float("nan") if pd.isna(value) else float(value)


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _rounded(number: int) -> str:
    """Two digits: an estimate has no more."""
    digits = max(0, len(str(number)) - 2)
    return f"{round(number, -digits):,}"
