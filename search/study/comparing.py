"""The comparison phase: all levels at the kept settings, and the paper's networks, in one run after another.

A run is one setting, one partition into folds and one set of seeds, the same for all levels. Runs differ in all
three, because a difference that only one of each shows may be due to them.

Source of that idea: X. Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys (2021).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isnan
from typing import Any

import pandas as pd

from search.analysis.levels import Analysis, Question, analyse
from search.analysis.pooling import score_columns
from search.analysis.selection import kept_settings, kept_trials, setting_params
from search.common.errors import StudyFailedError
from search.data.imageset import ImageSet
from search.records.results import best_configuration
from search.records.schema import Key, Phase
from search.space import CONTROL_LEVEL, PAPER_LEVELS, Configuration, Params
from search.study.configurations import dearest, largest_configuration, level_configuration
from search.study.context import Network, Study
from search.study.forecast import costs_after_comparison
from wbcmodels.network import model_size


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration that is compared.

    Attributes:
        setting: its number; None for the paper's networks, which have settings of their own.
    """

    level: str
    setting: int | None
    params: Params
    configuration: Configuration

    def key(self, phase: Phase, data: ImageSet, way: str | None = None) -> Key:
        """Key of its rows in a phase, without repeat, seed and fold."""
        return Key(phase=phase, level=self.level, setting=self.setting, way=way, data=data.source)

    def network(self, phase: Phase, data: ImageSet) -> Network:
        """What a phase trains of it."""
        return Network(key=self.key(phase, data), params=self.params, configuration=self.configuration)

    def row(self, key: Key, data: ImageSet, scores: dict[str, Any], latency_ms: float) -> dict[str, Any]:
        """Its row of the comparison or transfer table."""
        return {
            **asdict(key),
            **{f"params_{name}": value for name, value in self.params.items()},
            **scores,
            **model_size(self.configuration.model, len(data.classes))._asdict(),
            "latency_ms": None if isnan(latency_ms) else latency_ms,
        }


def candidates(study: Study) -> list[Candidate]:
    """What is compared, chosen from the search's trials: kept settings in order, then the paper's networks."""
    space, profile, found = study.space, study.plan.profile, []
    for setting, params_of_level in _kept(study).items():
        own = {level: params_of_level[level] for level in space.levels if level in params_of_level}
        if study.plan.control and space.reference in own:
            own[CONTROL_LEVEL] = own[space.reference]
        for level, params in own.items():
            trained = space.reference if level == CONTROL_LEVEL else level
            configuration = level_configuration(space, trained, profile, params)
            found.append(Candidate(level=level, setting=setting, params=params, configuration=configuration))
    for level in space.paper_levels:
        configuration = level_configuration(space, level, profile, {})
        found.append(Candidate(level=level, setting=None, params={}, configuration=configuration))
    return found


def compare(study: Study) -> None:
    """Train what is not recorded yet, run after run, and write the tables; stop when nothing is open.

    Raises:
        StudyFailedError: no level finished all its folds.
    """
    everyone, plan = candidates(study), study.plan
    settings = sorted({c.setting for c in everyone if c.setting is not None})
    study.reporter.phase(Phase.COMPARE, _announced(study, len(settings)))
    study.renew([candidate.network(Phase.COMPARE, study.source) for candidate in everyone])
    _forget_other_runs(study, settings)
    expect_winner(study, [c for c in everyone if c.level in study.space.levels])
    latencies = study.workers.latencies([c.configuration.model for c in everyone], len(study.source.classes))
    latency_of = {(c.level, c.setting): latency for c, latency in zip(everyone, latencies, strict=True)}
    budget_s = study.arguments.settling_budget_s
    deadline = float("inf") if budget_s is None else time.monotonic() + budget_s
    for n_before, n_runs in pairwise((0, *plan.looks)):
        _train(study, everyone, settings, range(n_before, n_runs))
        analysis = _look(study, everyone, latency_of, n_runs)
        if analysis.settled or time.monotonic() > deadline:
            break
    _say_result(study, analysis, n_runs)


def expect_winner(study: Study, possible: Sequence[Candidate]) -> None:
    """Tell the clock what the phases after the comparison cost if one of these wins."""
    space, plan, n_classes = study.space, study.plan, len(study.source.classes)
    planned = dearest(
        (largest_configuration(space, level, plan.profile, n_classes) for level in space.levels), n_classes
    )
    configurations = [(candidate.level, candidate.configuration) for candidate in possible]
    for phase, costs in costs_after_comparison(plan, configurations, planned, n_classes).items():
        study.reporter.clock.expect(phase, costs)


def winner(study: Study) -> Candidate:
    """The level and setting with the best estimate."""
    best = best_configuration(study.frame("comparison", Phase.COMPARE), study.metric)
    assert best is not None  # a comparison without a level has failed
    return next(c for c in candidates(study) if (c.level, c.setting) == (best["level"], best["setting"]))


def question(study: Study) -> Question:
    """What the comparison asks, as far as it has come."""
    source, looked_at = study.source, study.folder.description.get("looked_at", [])
    return Question(
        levels=study.space.levels,
        reference=study.space.reference,
        effects={effect.name: effect.levels for effect in study.space.effects},
        metric=study.metric,
        margin=study.arguments.margin / 100,
        classes=source.classes,
        groups=None if source.groups is None else dict(zip(source.names, source.groups, strict=True)),
        looks=sorted({*study.plan.looks, *looked_at}),
    )


def enter_effects(study: Study, phase: Phase, rows: Sequence[Mapping[str, Any]], data: ImageSet) -> None:
    """Replace a phase's rows of the effects table."""
    others = [row for row in study.ledger.read("effects").to_pylist() if row["phase"] != phase]
    study.ledger.replace("effects", [*others, *({"phase": phase, "data": data.source, **row} for row in rows)])


def _kept(study: Study) -> dict[int, dict[str, Params]]:
    """The settings that are compared, best first: number -> level -> parameters."""
    trials, n = study.trials(), study.plan.compare_settings
    if study.space.shares_settings:
        return {setting: setting_params(trials, setting) for setting in kept_settings(trials, n)}
    kept = kept_trials(trials, n)
    ranks = range(min(map(len, kept.values())))  # that every level has
    return {rank: {level: own[rank]["params"] for level, own in kept.items()} for rank in ranks}


def _announced(study: Study, n_settings: int) -> str:
    plan = study.plan
    n_levels = len(study.space.levels) + plan.control
    what = f"{n_settings} setting{'' if n_settings == 1 else 's'}"
    if n_levels > 1:
        what = f"{n_levels} levels at {what}"
    beside = " and the paper's networks" if study.space.paper_networks else ""
    most = "at most " if len(plan.looks) > 1 else ""
    runs = f"{plan.most_runs} run{'' if plan.most_runs == 1 else 's'}"
    return f"{what}{beside}, {most}{runs} of {plan.folds} folds"


def _setting_of(repeat: int, settings: Sequence[int]) -> int:
    """The setting of a run: the kept ones take turns."""
    return settings[repeat % len(settings)]


def _forget_other_runs(study: Study, settings: Sequence[int]) -> None:
    """Remove runs of a study that was extended whose setting is now another one."""
    recorded = study.frame("epochs", Phase.COMPARE)[["setting", "repeat"]].dropna().drop_duplicates()
    for setting, repeat in recorded.astype(int).itertuples(index=False):
        if setting != _setting_of(repeat, settings):
            for phase in (Phase.COMPARE, Phase.UNTOUCHED, Phase.SHIFT):
                study.ledger.forget_all(phase=phase, setting=setting, repeat=repeat)


def _train(study: Study, everyone: Sequence[Candidate], settings: Sequence[int], repeats: Iterable[int]) -> None:
    """Train some of the runs; the paper's networks take part in the first one."""
    source, entries = study.source, []
    everywhere = (*study.untouched(), *study.reported())
    for repeat in repeats:
        setting = _setting_of(repeat, settings)
        taking_part = [c for c in everyone if c.setting == setting or (c.setting is None and repeat == 0)]
        networks = [candidate.network(Phase.COMPARE, source) for candidate in taking_part]
        entries += study.cross_validation(
            networks, source, study.development, study.plan.folds, repeat, everywhere
        )
    study.train(entries, source)


def _look(
    study: Study,
    everyone: Sequence[Candidate],
    latency_of: Mapping[tuple[str, int | None], float],
    n_runs: int,
) -> Analysis:
    """Analyse the first runs, and write what they show."""
    folds, predictions = (
        frame[frame["repeat"] < n_runs]
        for frame in (study.frame("folds", Phase.COMPARE), study.frame("predictions", Phase.COMPARE))
    )
    costs = {
        (c.level, c.setting): model_size(c.configuration.model, len(study.source.classes)).macs
        for c in everyone
        if c.setting is not None
    }
    analysis = analyse(predictions, question(study), costs)
    if analysis is None:
        raise StudyFailedError("the comparison failed: no level finished all its folds")
    rows = _rows(study, everyone, folds, predictions, latency_of, analysis)
    study.ledger.replace("comparison", rows)
    enter_effects(study, Phase.COMPARE, analysis.rows, study.source)
    looked_at = study.folder.description.get("looked_at", [])
    recommended = None if analysis.recommendation is None else asdict(analysis.recommendation)
    study.folder.update(looked_at=sorted({*looked_at, n_runs}), recommendation=recommended)
    return analysis


def _rows(
    study: Study,
    everyone: Sequence[Candidate],
    folds: pd.DataFrame,
    predictions: pd.DataFrame,
    latency_of: Mapping[tuple[str, int | None], float],
    analysis: Analysis,
) -> list[dict[str, Any]]:
    """The comparison table: every level at every setting and over all settings, and the paper's networks."""
    rows = []
    n_runs, judged = folds["repeat"].nunique(), {level for level, _ in analysis.estimates}
    for level in dict.fromkeys(candidate.level for candidate in everyone):
        own_folds, own = (frame[frame["level"] == level] for frame in (folds, predictions))
        n_folds = study.plan.folds * (1 if level in PAPER_LEVELS else n_runs)
        if level not in judged and (level in study.space.levels or len(own_folds) < n_folds):
            study.reporter.note(f"{level}: not all its folds finished, so it is left out of the comparison")
            continue
        by_setting = []
        for candidate in (candidate for candidate in everyone if candidate.level == level):
            trained = own_folds["setting"].fillna(-1) == (-1 if candidate.setting is None else candidate.setting)
            if not trained.any():  # with fewer runs than settings
                continue
            of_setting = own["repeat"].isin(own_folds.loc[trained, "repeat"])
            row = candidate.row(
                candidate.key(Phase.COMPARE, study.source),
                study.source,
                score_columns(own_folds[trained], own[of_setting], study.source.classes),
                latency_of[level, candidate.setting],
            )
            row["estimate_shrunken"] = analysis.estimates.get((level, candidate.setting or 0))
            by_setting.append(row)
        rows += by_setting
        if level not in PAPER_LEVELS:
            rows.append(_over_settings(study, by_setting, own_folds, own, analysis.best[1]))
    return rows


def _over_settings(
    study: Study,
    by_setting: Sequence[Mapping[str, Any]],
    folds: pd.DataFrame,
    predictions: pd.DataFrame,
    best_setting: int,
) -> dict[str, Any]:
    """A level's row over all settings; its costs are those at the winner's setting."""
    at_best = next(row for row in by_setting if row["setting"] == best_setting)
    highest = max(by_setting, key=lambda row: row[study.metric])
    return {
        **{name: at_best[name] for name in ("phase", "level", "data", "n_parameters", "macs", "latency_ms")},
        **score_columns(folds, predictions, study.source.classes),
        "best_setting": highest["setting"],
        "best_value": highest[study.metric],
    }


def _say_result(study: Study, analysis: Analysis, n_runs: int) -> None:
    if len(study.plan.looks) > 1:
        ending = "nothing is open" if analysis.settled else "some differences are still open"
        study.reporter.say(f"looked at after {n_runs} runs of at most {study.plan.most_runs}: {ending}")
