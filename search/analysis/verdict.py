"""A study's comparison in words that claim no more than its numbers do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from search.analysis.comparison import LEAST_FOLDS, LEAST_GROUPS, LEAST_IMAGES, Row
from search.analysis.families import Kind
from search.analysis.levels import PLAIN_LEVEL, Question, analyse, analyse_transfer
from search.analysis.luck import tuning_luck
from search.analysis.measures import MEASURES
from search.analysis.outcome import Outcome
from search.analysis.power import POWER, smallest_found
from search.analysis.recommendation import Recommendation, Step
from search.analysis.words import capitalised, level_name, metric_words, p_phrase, percent, signed
from search.records.results import Results
from search.records.schema import Phase
from search.space import CONTROL_LEVEL, PAPER_LEVELS, effects_of_parts

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A contrast: a row of the effects table. Positive is better, also for losses.

    Attributes:
        level: that a pair compares with another; None for effects and interactions.
        setting: None over all settings; otherwise low, high and p are NaN.
        estimate, se, low, high: as fractions; low and high are NaN where the data are too few.
        outcome: None where the data are too few.
    """

    phase: str
    metric: str
    contrast: str
    kind: Kind
    level: str | None
    setting: int | None
    way: str | None
    estimate: float
    se: float
    df: float
    low: float
    high: float
    p: float
    outcome: Outcome | None
    p_better: float
    p_equal: float
    p_worse: float
    n_runs: int

    @property
    def in_points(self) -> bool:
        """Whether the metric is measured in points, hundredths of a score; log loss is not."""
        return MEASURES[self.metric].has_margin

    def text(self, value: float) -> str:
        """A value of this contrast with its sign, in points where the metric has them."""
        return signed(100 * value) if self.in_points else f"{value:+.3f}".replace("-", "−")

    @property
    def interval(self) -> str:
        """The 95 % interval; nothing where there is none."""
        return "" if isnan(self.low) else f"{self._end(self.low)} to {self._end(self.high)}"

    def _end(self, value: float) -> str:
        """An end of the interval, with the digit that shows that it excludes zero."""
        excludes_zero = self.outcome in (Outcome.BETTER, Outcome.WORSE)
        if self.in_points and excludes_zero and abs(value) < 0.0005:
            return f"{100 * value:+.1g}".replace("-", "−")
        return self.text(value)

    @property
    def unit(self) -> str:
        """What follows a value."""
        return " points" if self.in_points else ""

    def sentence(self, factor: str | None) -> str:
        """The finding in one sentence, with the bound on what could be gained."""
        name = self.contrast
        if self.level is not None:
            level, other = self.contrast.split(" − ")
            name = f"{level_name(factor, level)} against {level_name(factor, other)}"
        name = capitalised(name)
        if self.outcome is None:
            return f"{name}: {self.text(self.estimate)}{self.unit}, from too few data to judge."
        sure = f"95 % interval {self.interval}, {p_phrase(self.p)}"
        bound = ""
        if self.outcome in (Outcome.OPEN, Outcome.SAME):
            bound = f" It gains at most {self.text(max(0.0, self.high)).lstrip('+')}{self.unit}."
        return f"{name}: {self.outcome}, {self.text(self.estimate)}{self.unit} ({sure}).{bound}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a comparison shows.

    Attributes:
        winner: the level with the best estimate.
        recommendation: None where one level was compared.
        headline: the answer in one sentence.
        reasons: for the recommendation: what it may lose, what it saves, what is next.
        warnings: that limit the answer.
        main: effects and pairs, by the metric that decides; all judged together.
        interactions: by the metric that decides; a family of their own.
        others: metric -> the contrasts of `main`; a family of its own for each.
        paper: levels and WBCsNet-2 against the paper's plain network, in the first run.
        by_setting: the contrasts of `main` at every setting.
        depends_on_setting: p value of the test whether contrasts differ between settings; NaN without one.
        transfer: contrasts of the transfer.
    """

    winner: str
    recommendation: Recommendation | None
    headline: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    main: tuple[Finding, ...]
    interactions: tuple[Finding, ...]
    others: Mapping[str, tuple[Finding, ...]]
    paper: tuple[Finding, ...]
    by_setting: tuple[Finding, ...]
    depends_on_setting: float
    transfer: tuple[Finding, ...]


def verdict(results: Results) -> Verdict | None:
    """Say what a comparison shows; None before levels are compared."""
    winner, description = results.winner, results.description
    if winner is None:
        return None
    rows, recommendation = _analysed(results, winner)
    metric = description.metric
    test = [row for row in rows if row["kind"] == Kind.HETEROGENEITY]
    found = [_finding(row) for row in rows if row["kind"] != Kind.HETEROGENEITY]
    compared = [f for f in found if f.phase == Phase.COMPARE]
    paper = tuple(f for f in compared if f.contrast.endswith(f" − {PLAIN_LEVEL}"))
    whole = [f for f in compared if f.setting is None and f not in paper]
    main = tuple(f for f in whole if f.metric == metric and f.kind != Kind.INTERACTION)
    if not main:  # without a factor, the one level is compared with the paper's network
        main = tuple(f for f in paper if f.metric == metric and f.level == winner)
    others = dict.fromkeys(f.metric for f in whole if f.metric != metric)
    depends = _number(test[0]["p"]) if test else float("nan")
    return Verdict(
        winner=winner,
        recommendation=recommendation,
        headline=_headline(results, recommendation, main, depends),
        reasons=tuple(_reasons(results, recommendation, main)),
        warnings=tuple(_warnings(results, recommendation, main)),
        main=main,
        interactions=tuple(f for f in whole if f.metric == metric and f.kind == Kind.INTERACTION),
        others={
            name: tuple(f for f in whole if f.metric == name and f.kind != Kind.INTERACTION) for name in others
        },
        paper=paper,
        by_setting=tuple(f for f in compared if f.setting is not None and f.phase == Phase.COMPARE),
        depends_on_setting=depends,
        transfer=tuple(f for f in found if f.phase == Phase.TRANSFER),
    )


def _analysed(results: Results, winner: str) -> tuple[list[Row], Recommendation | None]:
    """The rows of the effects table and the recommendation; of older studies, computed from their predictions."""
    description = results.description
    if not description.is_older:
        rows = results.effects.astype(object).where(results.effects.notna(), None).to_dict("records")
        recorded: list[Row] = [{str(name): value for name, value in row.items()} for row in rows]
        return recorded, _recorded(results)
    settings = sorted(results.at_settings["setting"].astype(int).unique())
    parts = [results.compared("predictions", level, s) for level in description.levels for s in settings]
    parts += [results.compared("predictions", level) for level in PAPER_LEVELS]
    effects = {}
    if description.factor == "placement":
        effects = {
            effect.name: effect.levels
            for effect in effects_of_parts(description.levels, {s: f"block at stage {s}" for s in "123"})
        }
    question = Question(
        levels=description.levels,
        reference=description.reference,
        effects=effects,
        metric=description.metric,
        margin=description.arguments.margin / 100,
        classes=list(description.source[1].classes),
        looks=(len(settings) * description.plan.repeats,),
    )
    macs = {(str(row["level"]), int(row["setting"])): row["macs"] for _, row in results.at_settings.iterrows()}
    analysis = analyse(pd.concat(parts), question, macs)
    found: list[Row] = []
    recommendation = None
    if analysis is not None:
        found = [{"phase": Phase.COMPARE, **row} for row in analysis.rows]
        recommendation = analysis.recommendation and replace(analysis.recommendation, best=winner)
    predictions = results.tables["predictions"]
    transferred = predictions[predictions["phase"] == Phase.TRANSFER]
    if description.target is not None and len(transferred):
        asked = Question(
            levels=(), reference="", metric=description.metric, margin=question.margin,
            classes=list(description.target[1].classes),
        )  # fmt: skip
        found += [{"phase": Phase.TRANSFER, **row} for row in analyse_transfer(transferred, asked)]
    return found, recommendation


def _recorded(results: Results) -> Recommendation | None:
    recorded = results.description.recommendation
    if recorded is None:
        return None
    return Recommendation(**{**recorded, "next": [Step(**step) for step in recorded["next"]]})


def _finding(row: Mapping[str, Any]) -> Finding:
    setting, shown = row.get("setting"), row.get("outcome")
    numbers = ("estimate", "se", "df", "low", "high", "p", "p_better", "p_equal", "p_worse")
    return Finding(
        phase=row["phase"],
        metric=row["metric"],
        contrast=row["contrast"],
        kind=Kind(row["kind"]),
        level=row.get("level"),
        setting=None if setting is None or row["phase"] == Phase.TRANSFER else int(setting),
        way=row.get("way"),
        outcome=None if shown is None else Outcome(shown),
        n_runs=int(row["n_runs"]),
        **{name: _number(row.get(name)) for name in numbers},
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _headline(results: Results, advice: Recommendation | None, main: Sequence[Finding], depends: float) -> str:
    factor = results.description.factor
    levels = "levels" if factor is None else f"{factor.replace('_', ' ')}s".replace("ss", "s")
    if advice is None:
        return main[0].sentence(factor) if main else "Nothing was compared with the searched network."
    name = level_name(factor, advice.level)
    if not advice.is_judged:
        return f"No answer yet; {name} is the cheapest of {len(advice.rivals)} {levels}."
    if len(advice.rivals) == 1:
        headline = f"Use {name}: all other {levels} are ruled out."
    else:
        headline = (
            f"Use {name}: of the {len(advice.rivals)} {levels} that nothing is shown to beat, it is the cheapest."
        )
    if depends < ALPHA:
        headline += f" How much the {levels} differ depends on the settings ({p_phrase(depends)})."
    return headline


def _reasons(results: Results, advice: Recommendation | None, main: Sequence[Finding]) -> Iterator[str]:
    """What the recommendation may lose, what it saves, what is shown to be worse, and what would settle more."""
    if advice is None:
        return
    metric, factor = metric_words(results.description.metric), results.description.factor
    if advice.loses_at_most is not None:
        yield (
            f"It loses at most {100 * max(0.0, advice.loses_at_most):.1f} points of {metric} "
            f"(to {level_name(factor, str(advice.loses_to))}, upper end of the 95 % interval)."
        )
    yield from _costs(results, advice)
    for what in dict.fromkeys(advice.beaten.values()):
        worse = ", ".join(level for level, reason in advice.beaten.items() if reason == what)
        yield f"Not recommended: {worse}, because {reason_words(factor, what)}."
    if advice.n_open and main:
        yield _next_steps(results, advice, main)
        yield from _sensitivity(main)
    elif advice.loses_at_most is not None and main:
        yield "No effect and no difference is open."


def reason_words(factor: str | None, what: str) -> str:
    """Why a level is not recommended, from the effect or level that beats it."""
    return f"{what} on average" if _is_effect(what) else f"{level_name(factor, what)} is better"


def _is_effect(what: str) -> bool:
    """Whether a level is beaten by an effect, such as "block at stage 3 is worse", and not by another level."""
    return what.endswith((f" is {Outcome.BETTER}", f" is {Outcome.WORSE}"))


def _costs(results: Results, advice: Recommendation) -> Iterator[str]:
    costs, factor = results.levels.set_index("level"), results.description.factor
    rival = advice.best
    if rival == advice.level:
        dearest = max(advice.rivals, key=lambda level: costs["macs"][level])
        if dearest == rival:
            yield "It also has the best estimate."
            return
        shares, name = _shares(costs, advice.level, dearest), level_name(factor, dearest)
        yield f"It also has the best estimate, and {shares} of {name}."
        return
    best = capitalised(level_name(factor, rival))
    yield f"{best} has the best estimate; the recommended one {_shares(costs, advice.level, rival, whose='its')}."


def _shares(costs: pd.DataFrame, level: str, rival: str, *, whose: str = "the") -> str:
    text = f"needs {percent(costs['macs'][level] / costs['macs'][rival])} of {whose} multiply-adds"
    latency = costs["latency_ms"][level] / costs["latency_ms"][rival]
    return text if isnan(latency) else f"{text} and {percent(latency)} of {whose} time per image"


def _next_steps(results: Results, advice: Recommendation, main: Sequence[Finding]) -> str:
    n_now, n_images = main[0].n_runs, int(results.levels["n_images"].max())
    options = []
    for step in advice.next:
        if step.do == "metric":
            options.append(f"{metric_words(step.metric)} settles it already")
        elif step.number is None:
            continue
        elif step.do == "runs":
            repeats = -(-step.number // max(1, results.description.plan.compare_settings))
            options.append(
                f"about {step.number} runs settle it (--repeats {repeats}; this study has {n_now} runs)"
            )
        else:
            options.append(f"about {step.number:,} images settle it (this study compares on {n_images:,})")
    opened = f"{advice.n_open} of {len(main)} contrasts {'is' if advice.n_open == 1 else 'are'} open."
    if not options:
        return f"{opened} No number of runs or images in reach settles the nearest of them."
    nearest = f"{opened} The nearest to being settled is {advice.next[0].contrast}"
    return f"{nearest}: if it stays as it is, {', or '.join(options)}."


def _sensitivity(main: Sequence[Finding]) -> Iterator[str]:
    """The smallest differences that this comparison finds, by its own errors."""
    sizes = {}
    for kind, words in ((Kind.PAIR, "between two levels"), (Kind.EFFECT, "of an effect")):
        own = [f for f in main if f.kind == kind and f.outcome is not None]
        found = [smallest_found(np.array((f.high - f.low) / 2), np.array(f.se), f.df) for f in own]
        if found:
            sizes[words] = own[0].text(float(np.median(found))).lstrip("+") + own[0].unit
    if sizes:
        listed = " and ".join(f"{size} {words}" for words, size in sizes.items())
        yield f"A comparison as precise as this one finds {listed} with {100 * POWER:.0f} % chance."


def _warnings(results: Results, advice: Recommendation | None, main: Sequence[Finding]) -> Iterator[str]:
    description = results.description
    if any(finding.outcome is None for finding in main):
        yield f"The data are too few to judge any difference: {_lacking(results)}."
    if advice is not None and advice.best in advice.beaten:
        yield (
            f"{capitalised(level_name(description.factor, advice.best))} has the best estimate at one setting, "
            f"but over all settings {reason_words(description.factor, advice.beaten[advice.best])}."
        )
    for finding in main:
        if finding.level == CONTROL_LEVEL and finding.outcome in (Outcome.BETTER, Outcome.WORSE):
            yield (
                f"The control failed: the reference came out {finding.outcome} than itself by "
                f"{abs(100 * finding.estimate):.1f} points. This study's noise is larger than its intervals."
            )
    if description.beyond_plan:
        yield (
            "The comparison was extended after its result had been seen, so its error rate of 5 % is no longer "
            "guaranteed."
        )
    if description.factor is not None and not description.plan.shares_settings:
        luck, n_trials = tuning_luck(results.trials), results.trials.groupby("level").size()
        n = " to ".join(str(n) for n in dict.fromkeys((n_trials.min(), n_trials.max())))
        size = "" if np.isnan(luck) else f", about {100 * luck:.1f} points (one standard deviation) here"
        yield f"Every level was tuned by itself in {n} trials, so luck is part of every difference{size}."


def _lacking(results: Results) -> str:
    """What the comparison has too few of, see `search.analysis.comparison.lacking`."""
    level = str(results.winner)
    n_folds, images = len(results.compared("folds", level)), results.compared("predictions", level)
    counts = images.drop_duplicates("image")["label"].value_counts()
    if n_folds < LEAST_FOLDS:
        return f"they have {n_folds} folds over all runs, and {LEAST_FOLDS} are needed"
    if counts.min() < LEAST_IMAGES:
        return f"class {counts.idxmin()} has {counts.min()} images, and {LEAST_IMAGES} are needed"
    return f"{LEAST_GROUPS} groups are needed"
