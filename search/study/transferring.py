"""The test and transfer phases: the winner's one test score and its files, and its transfer to the target."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.analysis.calibration import calibrate
from search.analysis.levels import analyse_transfer
from search.analysis.pooling import score_columns
from search.common.errors import StudyFailedError
from search.common.metrics import METRIC_NAMES
from search.common.seeds import derive_seed
from search.data.imageset import ImageSet
from search.records.schema import Key, Phase
from search.space import PAPER_LEVELS, Configuration
from search.study.comparing import Candidate, candidates, enter_effects, question
from search.study.configurations import for_transfer, for_way
from search.study.context import Network, Study
from search.study.examples import keep_examples
from search.study.untouched import untouched_rows
from search.training.trainedmodel import TrainedModel, amend, read_weights, save_model
from search.training.types import FoldScore, Way
from search.tuning.pool import share

WAYS: tuple[Way, ...] = ("scratch", "frozen", "fine_tuned")


def ways(configuration: Configuration) -> tuple[Way, ...]:
    """Ways to the target: a classifier of measured features has no weights to start from."""
    return ("scratch",) if configuration.is_fitted_at_once else WAYS


def test(study: Study, winner: Candidate) -> None:
    """Train the winner on the development set, score it once on the locked test set, and save its weights.

    Where there is a target, the paper's networks are trained as well, to be transferred. They are not scored on
    the test set, so that nobody can choose by that score.

    Raises:
        StudyFailedError: a training failed.
    """
    study.reporter.phase(Phase.TEST, f"{winner.level} on the whole development set, scored on the locked test set")
    chosen, source = _transferred(study, winner), study.source
    networks = [candidate.network(Phase.TEST, source) for candidate in chosen]
    if study.renew(networks):
        study.folder.update(test_scored=study.folder.description.get("test_scored", 1) + 1)
        study.reporter.note(
            "the winner is not the one scored before: the test set is scored again, and its score is no longer "
            "free of choice"
        )
    seed, nothing = derive_seed(study.seed, "test"), np.empty(0, dtype=np.int64)
    entries = []
    for network in networks:
        val = study.locked if network.key.level == winner.level else nothing
        elsewhere = study.untouched(adapt=True) if network.key.level == winner.level else ()
        options = {"validate_once": True, "keep_weights": True, "elsewhere": elsewhere}
        job = network.job(study.development, val, seed, **options)
        entries.append((replace(network.key, seed=seed), job))
    study.train(entries, source, keep=lambda key, score: _save(study, chosen, key, score))
    for candidate in chosen:
        if not _model_folder(study, candidate).is_dir():
            raise StudyFailedError(f"{candidate.level} could not be trained on the development set")
        _calibrate(study, candidate)
    row = study.frame("folds", Phase.TEST).query("n_val > 0").iloc[0]
    # Null: scored before there was such a metric.
    scores = {name: float(row[name]) for name in METRIC_NAMES if not np.isnan(row[name])}
    study.folder.update(winner={"level": winner.level, "setting": winner.setting, **winner.params}, test=scores)
    study.reporter.say(
        f"test set, {len(study.locked)} images: accuracy {row['accuracy']:.3f}, "
        f"balanced accuracy {row['balanced_accuracy']:.3f}"
    )
    keep_examples(study, winner.level, winner.setting or 0)


def transfer(study: Study, winner: Candidate, target: ImageSet) -> None:
    """Train the winner and the paper's networks on the target: from scratch, frozen and fine-tuned.

    The table also tells how all networks of the comparison, and the winner's, score there as they are. The weights
    are those of the test phase; all trainings use the same folds of the target.
    """
    plan, chosen = study.plan, _transferred(study, winner)
    study.reporter.phase(
        Phase.TRANSFER,
        f"{len(chosen)} network{'' if len(chosen) == 1 else 's'} to {target.source}, up to {len(WAYS)} ways each, "
        f"on the same {plan.folds} folds",
    )
    untouched = untouched_rows(study, winner, target)
    study.ledger.replace("transfer", untouched)  # to be seen while the networks are trained
    networks = []
    for candidate in chosen:
        weights = f"weights of {candidate.level}"
        study.shared[weights] = share(read_weights(_model_folder(study, candidate)))
        configuration = for_transfer(candidate.level, candidate.configuration, plan.profile)
        networks += [
            Network(
                key=candidate.key(Phase.TRANSFER, target, way),
                params=candidate.params,
                configuration=for_way(configuration, way),
                start_from=None if way == "scratch" else weights,
            )
            for way in ways(candidate.configuration)
        ]
    study.renew(networks)
    everything = np.arange(len(target.labels))
    for repeat in range(plan.repeats):
        study.train(study.cross_validation(networks, target, everything, plan.folds, repeat), target)
    rows, effects = _results(study, chosen, target)
    study.ledger.replace("transfer", [*rows, *untouched])
    enter_effects(study, Phase.TRANSFER, effects, target)


def _transferred(study: Study, winner: Candidate) -> list[Candidate]:
    """The winner, and where there is a target, the paper's networks."""
    paper = [candidate for candidate in candidates(study) if candidate.level in PAPER_LEVELS]
    return [winner, *paper] if study.target is not None else [winner]


def _results(
    study: Study, chosen: Sequence[Candidate], target: ImageSet
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the transfer and effects tables: each network's ways, against its own training from scratch."""
    folds, predictions = study.frame("folds", Phase.TRANSFER), study.frame("predictions", Phase.TRANSFER)
    latencies = study.workers.latencies([c.configuration.model for c in chosen], len(target.classes))
    n_folds, rows = study.plan.folds * study.plan.repeats, []
    groups = None if target.groups is None else dict(zip(target.names, target.groups, strict=True))
    for candidate, latency_ms in zip(chosen, latencies, strict=True):
        own_folds, own = (frame[frame["level"] == candidate.level] for frame in (folds, predictions))
        for way in ways(candidate.configuration):
            of_way = own_folds[own_folds["way"] == way]
            if len(of_way) < n_folds:
                study.reporter.note(f"{candidate.level} {way}: not all its folds finished, so it is left out")
                continue
            scores = score_columns(of_way, own[own["way"] == way], target.classes)
            rows.append(candidate.row(candidate.key(Phase.TRANSFER, target, way), target, scores, latency_ms))
    asked = replace(question(study), classes=target.classes, groups=groups)
    return rows, analyse_transfer(predictions, asked)


def _save(study: Study, chosen: Sequence[Candidate], key: Key, score: FoldScore) -> None:
    """Write a trained network's files."""
    candidate = next(candidate for candidate in chosen if candidate.level == key.level)
    assert score.weights is not None  # the task asked for them
    model = TrainedModel(
        config=candidate.configuration.model,
        normalisation=score.normalisation,
        classes=study.source.classes,
        weights=score.weights,
        preparation=candidate.configuration.preparation,
        typical=score.typical,
        data=study.source.source,
    )
    about = {
        "level": candidate.level,
        "settings": candidate.params,
        "training": asdict(candidate.configuration.training),
        "n_train": score.n_train,
    }
    save_model(_model_folder(study, candidate), model, about)


def _calibrate(study: Study, candidate: Candidate) -> None:
    """Fit the temperature of a saved network to its predictions in the comparison, and note what that is worth.

    Those of the test set stay out of it. A study that is extended predicts more, so it is fitted again.
    """
    predictions = study.frame("predictions", Phase.COMPARE)
    setting = -1 if candidate.setting is None else candidate.setting
    own = predictions[(predictions["level"] == candidate.level) & (predictions["setting"].fillna(-1) == setting)]
    classes = study.source.classes
    # The folds of its first run keep an image's predictions together, and those of its group.
    first = own[own["repeat"] == own["repeat"].min()]
    own = own[own["image"].isin(first["image"])]
    if first["fold"].nunique() < 2:  # a network of the paper's whose folds failed
        return
    found = calibrate(
        own[[f"probability_{name}" for name in classes]].to_numpy(float),
        pd.Categorical(own["label"], categories=list(classes)).codes.astype(np.int64),
        own["image"].map(first.set_index("image")["fold"]).to_numpy(np.int64),
    )
    values = asdict(found)
    temperature = values.pop("temperature")
    values["n_images"] = own["image"].nunique()
    amend(_model_folder(study, candidate), temperature=temperature, calibration=values)


def _model_folder(study: Study, candidate: Candidate) -> Path:
    """The winner's files are in `model/` itself, the others' in folders below it."""
    model = study.folder.model
    return model / candidate.level if candidate.level in PAPER_LEVELS else model
