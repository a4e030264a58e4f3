"""The winner, trained on the whole development set: its one test score, its files, and its way to the target."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis.comparison import compare_settings
from search.common.errors import StudyFailedError
from search.common.metrics import METRIC_NAMES
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.records.schema import Key
from search.space import PAPER_LEVELS, Params
from search.study.comparing import Candidate, candidates
from search.study.context import Study, sized
from search.study.examples import keep_cells
from search.study.plan import for_transfer
from search.training.trainedmodel import TrainedModel, read_weights, save_model
from search.training.types import FoldScore, Task, Way
from search.tuning.pool import Job, share
from wbcmodels.cost import model_size

WAYS: tuple[Way, ...] = ("scratch", "frozen", "fine_tuned")


def test(study: Study, winner: Candidate) -> None:
    """Train the winner on the development set, score it once on the locked test set, and keep its weights.

    The paper's networks are trained beside it where there is a target, as something to transfer; they are not
    scored on the test set, whose score would otherwise be one to choose by.

    Raises:
        StudyFailedError: a training failed.
    """
    study.reporter.phase("test", f"{winner.level} on the whole development set, scored on the locked test set")
    travelling = _travelling(study, winner)
    if study.renew("test", _subjects("test", travelling, study.source)):
        study.folder.update(test_scored=study.folder.description.get("test_scored", 1) + 1)
        study.reporter.note("another winner than before: the test set is scored again, and is not free of choice")
    entries = []
    for candidate in travelling:
        val = study.locked if candidate.level == winner.level else np.empty(0, dtype=np.int64)
        seed = derive_seed(study.seed, "test")
        key = Key(
            phase="test",
            level=candidate.level,
            settings=candidate.settings,
            data=study.source.source,
            seed=seed,
        )
        task = Task(
            configuration=candidate.configuration,
            train=study.development,
            val=val,
            seed=seed,
            validate_once=True,
            keep_weights=True,
        )
        entries.append((key, Job(task=task, data=study.source.source)))
    study.run_folds(entries, study.source, keep=lambda key, score: _save(study, travelling, key, score))
    for candidate in travelling:
        if not _model_folder(study, candidate).is_dir():
            raise StudyFailedError(f"{candidate.level} could not be trained on the development set")
    row = study.frame("folds", "test").query("n_val > 0").iloc[0]
    scores = {name: float(row[name]) for name in METRIC_NAMES}
    study.folder.update(winner={"level": winner.level, **winner.params}, test=scores)
    study.reporter.say(
        f"test set, {len(study.locked)} images: accuracy {row['accuracy']:.3f}, "
        f"balanced accuracy {row['balanced_accuracy']:.3f}"
    )
    keep_cells(study, winner.level)


def transfer(study: Study, winner: Candidate, target: ImageSet) -> None:
    """Take the winner and the paper's networks to the target: from scratch, frozen and fine-tuned.

    Each starts from the weights of the development set of the source; all use the same folds of the target.
    """
    plan, travelling = study.plan, _travelling(study, winner)
    study.reporter.phase(
        "transfer",
        f"{len(travelling)} networks to {target.source}, {len(WAYS)} ways each, on the same {plan.folds} folds",
    )
    for candidate in travelling:
        weights = read_weights(_model_folder(study, candidate))
        study.shared[_weights_name(candidate)] = share(weights)
    study.renew("transfer", _subjects("transfer", travelling, target))
    entries = []
    for repeat, fold, split in study.comparison_splits(target, np.arange(len(target.labels)), "transfer"):
        seed = derive_seed(study.seed, "transfer", repeat, fold)
        for candidate in travelling:
            for way in WAYS:
                key = Key(
                    phase="transfer",
                    level=candidate.level,
                    settings=candidate.settings,
                    way=way,
                    data=target.source,
                    repeat=repeat,
                    seed=seed,
                    fold=fold,
                )
                configuration = for_transfer(candidate.configuration, plan.profile)
                task = Task(configuration=configuration, train=split.train, val=split.val, seed=seed, way=way)
                start_from = None if way == "scratch" else _weights_name(candidate)
                entries.append((key, Job(task=task, data=target.source, start_from=start_from)))
    study.run_folds(entries, target)
    study.ledger.replace("transfer", _rows(study, travelling, target))


def _subjects(phase: str, travelling: Sequence[Candidate], data: ImageSet) -> list[tuple[Key, Params]]:
    """What a phase trains, for `Study.renew`."""
    return [(Key(phase=phase, level=c.level, settings=c.settings, data=data.source), c.params) for c in travelling]


def _travelling(study: Study, winner: Candidate) -> list[Candidate]:
    """The winner, and where there is a target the paper's networks."""
    paper = [candidate for candidate in candidates(study) if candidate.level in PAPER_LEVELS]
    return [winner, *paper] if study.target is not None else [winner]


def _rows(study: Study, travelling: Sequence[Candidate], target: ImageSet) -> list[dict[str, Any]]:
    """Each network's ways, compared with its own training from scratch: what the transfer brings."""
    folds, predictions = study.frame("folds", "transfer"), study.frame("predictions", "transfer")
    latencies = study.workers.latencies([sized(c.configuration, target).model for c in travelling])
    rows = []
    for candidate, latency in zip(travelling, latencies, strict=True):
        own_folds, own_predictions = (
            frame[frame["level"] == candidate.level].assign(level=lambda rows: rows["way"])
            for frame in (folds, predictions)
        )
        compared = compare_settings(
            own_folds, own_predictions, reference="scratch", metric=study.metric, classes=target.classes
        )
        for way in WAYS:
            if way not in compared:
                study.reporter.note(f"{candidate.level} {way}: not all its folds finished, so it is left out")
                continue
            key = Key(
                phase="transfer",
                level=candidate.level,
                settings=candidate.settings,
                way=way,
                data=target.source,
            )
            params = {f"params_{name}": value for name, value in candidate.params.items()}
            size = model_size(candidate.configuration.model, len(target.classes))
            rows.append({**asdict(key), **params, **compared[way], **size, "latency_ms": latency})
    return rows


def _save(study: Study, travelling: Sequence[Candidate], key: Key, score: FoldScore) -> None:
    """Write a trained network's files."""
    candidate = next(candidate for candidate in travelling if candidate.level == key.level)
    assert score.weights is not None  # the task asked for them
    model = TrainedModel(
        config=sized(candidate.configuration, study.source).model,
        normalisation=score.normalisation,
        classes=study.source.classes,
        weights=score.weights,
    )
    about = {
        "level": candidate.level,
        "settings": candidate.params,
        "training": asdict(candidate.configuration.training),
        "data": study.source.source,
        "n_train": score.n_train,
    }
    save_model(_model_folder(study, candidate), model, about)


def _model_folder(study: Study, candidate: Candidate) -> Path:
    """The winner's files stand in `model/` itself, the others' in folders below it."""
    model = study.folder.model
    return model / candidate.level if candidate.level in PAPER_LEVELS else model


def _weights_name(candidate: Candidate) -> str:
    return f"weights of {candidate.level}"
