"""The comparison phase: tuned levels, equal settings and the paper's networks on the same folds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from search.analysis.comparison import compare_settings
from search.analysis.selection import best_trials, equal_settings
from search.common.errors import StudyFailedError
from search.data.imageset import ImageSet
from search.records.results import best_level
from search.records.schema import Key, Phase, Settings
from search.space import PAPER_LEVELS, Configuration, Params
from search.study.context import Network, Study, sized
from search.study.plan import level_configuration
from wbcmodels.cost import model_size


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration that is compared.

    Attributes:
        settings: tuned or equal; None for the paper's networks.
        trained_as: settings under which its folds are recorded: a level whose equal settings are those that it was
            tuned to is trained once.
    """

    level: str
    settings: Settings | None
    trained_as: Settings | None
    params: Params
    configuration: Configuration

    def key(self, phase: Phase, data: ImageSet, way: str | None = None) -> Key:
        """Key of its rows in a phase, without repeat, seed and fold."""
        return Key(phase=phase, level=self.level, settings=self.settings, way=way, data=data.source)

    def network(self, phase: Phase, data: ImageSet) -> Network:
        """What a phase trains of it."""
        return Network(key=self.key(phase, data), params=self.params, configuration=self.configuration)

    def row(self, key: Key, data: ImageSet, scores: dict[str, Any], latency_ms: float) -> dict[str, Any]:
        """Its row of the comparison or transfer table."""
        return {
            **asdict(key),
            **{f"params_{name}": value for name, value in self.params.items()},
            **scores,
            **model_size(self.configuration.model, len(data.classes)),
            "latency_ms": latency_ms,
        }


def candidates(study: Study) -> list[Candidate]:
    """What is compared, chosen from the search's trials."""
    trials = study.trials()
    best = best_trials(trials)
    tuned = {
        level: _candidate(study, level, Settings.TUNED, best[level]["params"])
        for level in study.space.levels
        if level in best
    }
    found = list(tuned.values())
    equal = equal_settings(trials, tuple(tuned)) if study.space.factor is not None else None
    if equal is not None:
        found += [_candidate(study, level, Settings.EQUAL, equal, rival=rival) for level, rival in tuned.items()]
    return found + [_candidate(study, level, None, {}) for level in PAPER_LEVELS]


def compare(study: Study) -> None:
    """Train what is not recorded yet, and write the comparison table.

    Raises:
        StudyFailedError: no level finished all its folds.
    """
    everyone, plan = candidates(study), study.plan
    networks = [c.network(Phase.COMPARE, study.source) for c in everyone if c.settings == c.trained_as]
    times = f", repeated {plan.repeats} times" if plan.repeats > 1 else ""
    study.reporter.phase(Phase.COMPARE, f"{len(networks)} configurations on the same {plan.folds} folds{times}")
    if study.space.factor is not None and not any(candidate.settings == Settings.EQUAL for candidate in everyone):
        study.reporter.note("no settings were tried at every level, so none are compared at equal settings")
    study.renew(networks)
    study.cross_validate(networks, study.source, study.development, plan.folds, plan.repeats)
    rows = _rows(study, everyone)
    if not any(row["settings"] == Settings.TUNED for row in rows):
        raise StudyFailedError("the comparison failed: no level finished all its folds")
    study.ledger.replace("comparison", rows)


def winner(study: Study) -> Candidate:
    """The level with the best pooled metric, each at its tuned settings; the first of equals."""
    level = best_level(study.frame("comparison", Phase.COMPARE), study.metric)
    return next(c for c in candidates(study) if c.level == level and c.settings == Settings.TUNED)


def _candidate(
    study: Study, level: str, settings: Settings | None, params: Params, rival: Candidate | None = None
) -> Candidate:
    configuration = level_configuration(study.space, level, study.plan.profile, params)
    same = rival is not None and rival.configuration == configuration
    return Candidate(
        level=level,
        settings=settings,
        trained_as=Settings.TUNED if same else settings,
        params=params,
        configuration=configuration,
    )


def _rows(study: Study, everyone: Sequence[Candidate]) -> list[dict[str, Any]]:
    folds, predictions = study.frame("folds", Phase.COMPARE), study.frame("predictions", Phase.COMPARE)
    latencies = study.workers.latencies(
        [sized(candidate.configuration, study.source).model for candidate in everyone]
    )
    latency_of = {(c.level, c.settings): latency for c, latency in zip(everyone, latencies, strict=True)}
    rows = []
    for settings in Settings:
        # The paper's networks are compared with the tuned levels; they have no equal settings.
        together = [
            c
            for c in everyone
            if c.settings == settings or (c.level in PAPER_LEVELS and settings == Settings.TUNED)
        ]
        if not together:
            continue
        compared = compare_settings(
            _of(together, folds),
            _of(together, predictions),
            reference=study.space.reference,
            metric=study.metric,
            classes=study.source.classes,
        )
        for candidate in together:
            if candidate.level not in compared:
                name = f"{candidate.level} ({candidate.settings})" if candidate.settings else candidate.level
                study.reporter.note(f"{name}: not all its folds finished, so it is left out of the comparison")
                continue
            latency_ms = latency_of[candidate.level, candidate.settings]
            key = candidate.key(Phase.COMPARE, study.source)
            rows.append(candidate.row(key, study.source, compared[candidate.level], latency_ms))
    return rows


def _of(together: Sequence[Candidate], frame: pd.DataFrame) -> pd.DataFrame:
    """The candidates' rows of a table."""
    settings = frame["settings"].fillna("")
    parts = [
        frame[(frame["level"] == candidate.level) & (settings == (candidate.trained_as or ""))]
        for candidate in together
    ]
    return pd.concat(parts)
