"""The confirmation: the best few of each level on fresh seeds and folds, since the best of many is also lucky."""

from search.analysis.comparison import pooled_metrics
from search.analysis.selection import finalists
from search.common.seeds import derive_seed
from search.records.schema import Key
from search.study.context import Study
from search.study.plan import level_configuration
from search.training.types import Task
from search.tuning.pool import Job


def confirm(study: Study) -> None:
    """Train every level's finalists on folds of their own, and set `confirmed_value` beside `value`.

    The folds are neither those of the search nor those of the comparison. A finalist whose training fails is not
    confirmed.
    """
    chosen = finalists(study.trials(), study.plan.finalists)
    n_folds = study.plan.search_folds
    study.reporter.phase("confirm", f"{len(chosen)} finalists on fresh seeds and {n_folds} folds of their own")
    entries = []
    for fold, split in enumerate(study.partition(study.source, study.development, "confirm", n_folds)):
        seed = derive_seed(study.seed, "confirm", fold)
        for trial in chosen:
            key = Key(
                phase="confirm",
                number=trial["number"],
                level=trial["level"],
                data=study.source.source,
                repeat=0,
                seed=seed,
                fold=fold,
            )
            configuration = level_configuration(study.space, trial["level"], study.plan.profile, trial["params"])
            task = Task(configuration=configuration, train=split.train, val=split.val, seed=seed)
            entries.append((key, Job(task=task, data=study.source.source)))
    study.run_folds(entries, study.source)
    _enter(study)
    _say(study)


def _enter(study: Study) -> None:
    """Set the confirmed values of all trials whose folds are on record, whichever run confirmed them."""
    folds, predictions = study.frame("folds", "confirm"), study.frame("predictions", "confirm")
    whole = folds.groupby("number").size() == study.plan.search_folds
    confirmed = {
        number: getattr(pooled_metrics(rows, study.source.classes), study.metric)
        for number, rows in predictions.groupby("number")
        if whole.get(number, False)
    }
    rows = study.ledger.read("trials").to_pylist()
    study.ledger.replace("trials", [{**row, "confirmed_value": confirmed.get(row["number"])} for row in rows])


def _say(study: Study) -> None:
    """Say how far the search flattered itself."""
    trials = [trial for trial in study.trials() if trial["confirmed_value"] is not None]
    if not trials:
        study.reporter.note("no finalist could be confirmed; the search's own values decide")
        return
    drops = []
    for level in study.space.levels:
        own = [trial for trial in trials if trial["level"] == level]
        if not own:
            continue
        first = max(own, key=lambda trial: trial["value"])
        drops.append(first["value"] - first["confirmed_value"])
        chosen = max(own, key=lambda trial: trial["confirmed_value"])
        kept = "" if chosen is first else f"; trial {chosen['number']} takes its place"
        study.reporter.say(
            f"{level}: trial {first['number']} {first['value']:.3f} in the search, "
            f"{first['confirmed_value']:.3f} confirmed{kept}"
        )
    mean = 100 * sum(drops) / len(drops)
    how = f"flattered its best by {mean:.1f}" if mean >= 0 else f"valued its best too low by {-mean:.1f}"
    study.reporter.say(f"the search had {how} points of {study.metric}, on average over the levels")
