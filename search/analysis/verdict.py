"""A study's comparison in words that claim no more than its numbers do.

The rule: a difference is settled if the corrected resampled t test against the reference, adjusted by Holm over
the levels, gives p < 0.05. Probabilities of practical equivalence and McNemar's test are reported but decide
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from search.analysis.comparison import PairedScores, pair
from search.analysis.outlook import POWER, Outlook, outlook
from search.records.results import Results
from search.records.schema import Settings
from search.space import PAPER_LEVELS

ALPHA = 0.05
Outcome = Literal["better", "worse", "not settled"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One level against the reference.

    Attributes:
        points, low, high: difference of the searched metric and its 95 % interval, in points of 100; a single fold
            has NaN ends.
        outlook: what would settle it; None if it is settled, or if there are too few folds to tell.
    """

    level: str
    reference: str
    settings: Settings
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
        if not self.p_holm < ALPHA:  # NaN, the p of a single fold, settles nothing either
            return "not settled"
        return "better" if self.points > 0 else "worse"

    def sentence(self, factor: str | None) -> str:
        """The finding in one sentence; the factor names the level, as in "placement 1+2"."""
        name, reference = level_name(factor, self.level), level_name(factor, self.reference)
        size = f"{abs(self.points):.1f} points"
        if self.outcome != "not settled":
            seen = f"is {self.outcome} than {reference} by {size}"
        elif round(abs(self.points), 1) == 0:
            seen = f"came out level with {reference}"
        else:
            seen = f"came out {size} {'better' if self.points > 0 else 'worse'} than {reference}"
        ending = "not settled" if self.outcome == "not settled" else "settled"
        p = p_text(self.p_holm)
        how_sure = "" if isnan(self.p_holm) else f" (p {'' if '<' in p else '= '}{p} after Holm's correction)"
        return f"{name} {seen}{self._interval}: {ending}{how_sure}."

    @property
    def _interval(self) -> str:
        if isnan(self.low):
            return " on one fold, which gives no interval"
        return f" (95 % interval {signed(self.low)} to {signed(self.high)})"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a comparison shows.

    Attributes:
        winner: see `Results.winner`.
        headline: which level came out best, and whether that is settled.
        sentences: the rest, most important first.
        findings: of every level, tuned before equal.
    """

    winner: str
    headline: str
    sentences: tuple[str, ...]
    findings: tuple[Finding, ...]


def verdict(results: Results) -> Verdict | None:
    """Say what a comparison shows; None before levels are compared."""
    winner, reference, factor = results.winner, results.description.reference, results.description.factor
    if winner is None:
        return None
    found = findings(results)
    of_winner = {finding.settings: finding for finding in found if finding.level == winner}
    tuned, equal = of_winner.get(Settings.TUNED), of_winner.get(Settings.EQUAL)
    name, rival = level_name(factor, winner), level_name(factor, reference)
    sentences: list[str] = []
    if winner == reference:
        headline = _reference_won(found, name, factor)
        if (nearest := nearest_rival(found)) is not None:
            sentences.append(nearest.sentence(factor))
    elif tuned is None:
        headline = f"{name} came out best; {rival} was not compared, so there is nothing to be better than."
    else:
        headline = f"{name} came out best, and is better than {rival}."
        if tuned.outcome != "better":
            headline = f"{name} came out best; that it is better than {rival} is not settled."
        sentences += [tuned.sentence(factor), _chances(tuned)]
        if equal is not None:
            sentences.append("At equal settings, " + equal.sentence(factor))
        if tuned.outlook is not None:
            sentences.append(_outlook_text(tuned.outlook, results.description.plan.repeats))
    sentences += _not_told_apart(results, winner)
    return Verdict(
        winner=winner,
        headline=headline[0].upper() + headline[1:],
        sentences=tuple(sentence[0].upper() + sentence[1:] for sentence in sentences),
        findings=tuple(found),
    )


def findings(results: Results) -> list[Finding]:
    """Every level against the reference, tuned and at equal settings, in the order of the comparison table."""
    reference = results.description.reference
    found = []
    for settings, rows in results.families():
        rivals = rows[rows["level"] != reference]
        n_tests = int(rivals["p_holm"].notna().sum())
        for _, row in rivals[rivals["difference_reference"].notna()].iterrows():
            level = str(row["level"])
            points, low, high = (100 * row[f"difference_reference{end}"] for end in ("", "_low", "_high"))
            is_open = n_tests > 0 and not row["p_holm"] < ALPHA
            found.append(
                Finding(
                    level=level,
                    reference=reference,
                    settings=settings,
                    metric=results.description.metric,
                    points=points,
                    low=low,
                    high=high,
                    p_holm=row["p_holm"],
                    p_mcnemar=row["p_mcnemar"],
                    p_better=row["p_better"],
                    p_equal=row["p_equal"],
                    p_worse=row["p_worse"],
                    outlook=_outlook(results, level, settings, n_tests) if is_open else None,
                )
            )
    return found


def nearest_rival(found: Sequence[Finding]) -> Finding | None:
    """Of the tuned levels, the one that came nearest to the reference, or furthest beyond it."""
    levels = [f for f in found if f.settings == Settings.TUNED and f.level not in PAPER_LEVELS]
    return max(levels, key=lambda finding: finding.points, default=None)


def level_name(factor: str | None, level: str) -> str:
    """A level's name in a sentence."""
    paper = dict(zip(PAPER_LEVELS, ("the paper's plain network", "the paper's WBCsNet-2"), strict=True))
    if level in paper:
        return paper[level]
    return "the searched network" if factor is None else f"{factor.replace('_', ' ')} {level}"


def p_text(p: float) -> str:
    """A p value for a reader."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def signed(points: float) -> str:
    """A number with its sign, and a true minus."""
    return f"{round(points, 1) + 0.0:+.1f}".replace("-", "−")  # no minus before zero


def _reference_won(found: Sequence[Finding], name: str, factor: str | None) -> str:
    rivals = [finding for finding in found if finding.settings == Settings.TUNED]
    ahead = [level_name(factor, finding.level) for finding in rivals if finding.outcome == "better"]
    others = "other network" if factor is None else factor.replace("_", " ")
    if not rivals:
        return f"{name} has no rival: nothing was compared with it."
    if ahead:  # the best pooled score need not have the best mean over folds, which is what is tested
        return f"{name}, the reference, has the best pooled score, but fold by fold {ahead[0]} is better."
    if all(finding.outcome == "worse" for finding in rivals):
        return f"{name}, the reference, came out best, and is better than every {others}."
    return f"{name}, the reference, came out best; no {others} is shown to be better."


def _chances(finding: Finding) -> str:
    if isnan(finding.p_better):
        return "One fold cannot say how probable that is."
    return (
        "Given these folds, it is better by more than 1 point with probability "
        f"{_percent(finding.p_better)}, within 1 point with {_percent(finding.p_equal)}, and worse by more than "
        f"1 point with {_percent(finding.p_worse)}."
    )


def _outlook_text(wanted: Outlook, repeats_now: int) -> str:
    if wanted.repeats is not None:
        return (
            "More repeats could settle it: if the difference stays as it is, about "
            f"{wanted.repeats} partitions into folds in total (--repeats {wanted.repeats}; this study has "
            f"{repeats_now})."
        )
    if wanted.images is None:
        return "No number of repeats or images tells apart networks that came out the same."
    return (
        "Only more images can settle it, not more repeats of these: if the true difference is as large as "
        f"observed, about {_rounded(wanted.images)} images to search and compare on give a chance of "
        f"{_percent(POWER)} (this study has {wanted.images_now:,})."
    )


def _not_told_apart(results: Results, winner: str) -> list[str]:
    """The levels that the winner does not stand out from. A description, since it was chosen as the best."""
    n_others, near = 0, []
    for level in results.tuned.loc[results.tuned["level"] != winner, "level"]:
        paired = _paired(results, level, winner, Settings.TUNED)
        if len(paired) > 1:
            n_others += 1
            near += [level] if paired.difference.high >= 0 else []
    if not n_others:
        return []
    if not near:
        return ["Every other level's difference from it has a 95 % interval below zero."]
    sentence = (
        f"The 95 % intervals do not tell it apart from {', '.join(near)} ({len(near)} of {n_others} other levels)."
    )
    macs = results.tuned.set_index("level")["macs"]
    cheapest = macs[near].sort_values(kind="stable").index[0]
    share = macs[cheapest] / macs[winner]
    if share < 1:
        sentence += f" The cheapest of them, {cheapest}, needs {_percent(share)} of its multiply-adds."
    return [sentence]


def _outlook(results: Results, level: str, settings: Settings, n_tests: int) -> Outlook | None:
    paired = _paired(results, level, results.description.reference, settings)
    if len(paired) < 2:
        return None
    return outlook(
        paired.a - paired.b,
        n_train=paired.n_train,
        n_test=paired.n_val,
        n_folds=results.description.plan.folds,
        alpha=ALPHA / n_tests,  # Holm's harshest factor, which the best level must pass first
    )


def _paired(results: Results, level: str, other: str, settings: Settings) -> PairedScores:
    # A study that is being extended has folds of one level before those of the other.
    own, rival = (results.compared("folds", name, settings) for name in (level, other))
    return pair(own, rival, results.description.metric)


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _rounded(number: int) -> str:
    """Two digits: an estimate has no more."""
    digits = max(0, len(str(number)) - 2)
    return f"{round(number, -digits):,}"
