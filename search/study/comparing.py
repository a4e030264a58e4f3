"""The comparison: each level's best configuration, equal settings and the paper's networks on the same folds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from search.analysis.comparison import compare_settings
from search.analysis.selection import best_trials, equal_settings
from search.common.errors import StudyFailedError
from search.common.seeds import derive_seed
from search.records.schema import Key
from search.space import PAPER_LEVELS, Configuration, Params
from search.study.context import Study, sized
from search.study.plan import level_configuration
from search.training.types import Task
from search.tuning.pool import Job
from wbcmodels.cost import model_size


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration that takes part.

    Attributes:
        settings: tuned or equal; None for the paper's networks.
        trained_as: settings under which its folds are on record: a level whose equal settings are those that it
            was tuned to is trained once.
    """

    level: str
    settings: str | None
    trained_as: str | None
    params: Params
    configuration: Configuration


def candidates(study: Study) -> list[Candidate]:
    """What is compared, as the search's trials have it."""
    trials = study.trials()
    best = best_trials(trials)
    tuned = {
        level: _candidate(study, level, "tuned", best[level]["params"])
        for level in study.space.levels
        if level in best
    }
    found = list(tuned.values())
    equal = equal_settings(trials, tuple(tuned)) if study.space.factor is not None else None
    if equal is not None:
        found += [_candidate(study, level, "equal", equal, rival=rival) for level, rival in tuned.items()]
    return found + [_candidate(study, level, None, {}) for level in PAPER_LEVELS]


def compare(study: Study) -> None:
    """Train what is not on record yet, and make the comparison table.

    Raises:
        StudyFailedError: no level finished all its folds.
    """
    everyone = candidates(study)
    distinct = [candidate for candidate in everyone if candidate.settings == candidate.trained_as]
    plan = study.plan
    times = f", {plan.repeats} times over" if plan.repeats > 1 else ""
    study.reporter.phase("compare", f"{len(distinct)} configurations on the same {plan.folds} folds{times}")
    if study.space.factor is not None and not any(candidate.settings == "equal" for candidate in everyone):
        study.reporter.note("no settings were tried at every level, so none are compared at equal settings")
    study.renew(
        "compare",
        [
            (Key(phase="compare", level=c.level, settings=c.settings, data=study.source.source), c.params)
            for c in distinct
        ],
    )
    entries = []
    for repeat, fold, split in study.comparison_splits(study.source, study.development, "compare"):
        seed = derive_seed(study.seed, "compare", repeat, fold)
        for candidate in distinct:
            key = Key(
                phase="compare",
                level=candidate.level,
                settings=candidate.settings,
                data=study.source.source,
                repeat=repeat,
                seed=seed,
                fold=fold,
            )
            task = Task(configuration=candidate.configuration, train=split.train, val=split.val, seed=seed)
            entries.append((key, Job(task=task, data=study.source.source)))
    study.run_folds(entries, study.source)
    rows = _rows(study, everyone)
    if not any(row["settings"] == "tuned" for row in rows):
        raise StudyFailedError("the comparison failed: no level finished all its folds")
    study.ledger.replace("comparison", rows)


def winner(study: Study) -> Candidate:
    """The level with the best pooled metric, each at its tuned settings; of equals, the first."""
    tuned = study.frame("comparison", "compare").query("settings == 'tuned'")
    level = tuned["level"].iloc[int(tuned[study.metric].argmax())]
    return next(c for c in candidates(study) if c.level == level and c.settings == "tuned")


def _candidate(
    study: Study, level: str, settings: str | None, params: Params, rival: Candidate | None = None
) -> Candidate:
    configuration = level_configuration(study.space, level, study.plan.profile, params)
    same = rival is not None and rival.configuration == configuration
    return Candidate(
        level=level,
        settings=settings,
        trained_as="tuned" if same else settings,
        params=params,
        configuration=configuration,
    )


def _rows(study: Study, everyone: Sequence[Candidate]) -> list[dict[str, Any]]:
    folds, predictions = study.frame("folds", "compare"), study.frame("predictions", "compare")
    models = [sized(candidate.configuration, study.source).model for candidate in everyone]
    latencies = study.workers.latencies(models)
    latency_of = {(c.level, c.settings): latency for c, latency in zip(everyone, latencies, strict=True)}
    rows = []
    for settings in ("tuned", "equal"):
        # The paper's networks stand beside the tuned levels, and have no equal settings.
        together = [c for c in everyone if c.settings == settings or (c.settings is None and settings == "tuned")]
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
            name = f"{candidate.level} ({candidate.settings})" if candidate.settings else candidate.level
            if candidate.level not in compared:
                study.reporter.note(f"{name}: not all its folds finished, so it is left out of the comparison")
                continue
            key = Key(
                phase="compare", level=candidate.level, settings=candidate.settings, data=study.source.source
            )
            rows.append(
                {
                    **asdict(key),
                    **{f"params_{param}": value for param, value in candidate.params.items()},
                    **compared[candidate.level],
                    **model_size(candidate.configuration.model, len(study.source.classes)),
                    "latency_ms": latency_of[candidate.level, candidate.settings],
                }
            )
    return rows


def _of(together: Sequence[Candidate], frame: pd.DataFrame) -> pd.DataFrame:
    """The candidates' rows of a table."""
    settings = frame["settings"].fillna("")
    parts = [
        frame[(frame["level"] == candidate.level) & (settings == (candidate.trained_as or ""))]
        for candidate in together
    ]
    return pd.concat(parts)
