"""The confirmation phase: each level's best few on fresh folds, since the best of many is also lucky."""

from search.analysis.pooling import pooled_metrics
from search.analysis.selection import finalists
from search.records.schema import Key, Phase
from search.study.configurations import level_configuration
from search.study.context import Network, Study


def confirm(study: Study) -> None:
    """Train every level's finalists on folds of their own, and set `confirmed_value` next to `value`.

    The folds are neither the search's nor the comparison's. A finalist with a failed training is not confirmed.
    """
    chosen = finalists(study.trials(), study.plan.finalists)
    n_folds, source = study.plan.search_folds, study.source
    study.reporter.phase(Phase.CONFIRM, f"{len(chosen)} finalists on fresh seeds and {n_folds} folds of their own")
    networks = [
        Network(
            key=Key(phase=Phase.CONFIRM, number=trial["number"], level=trial["level"], data=source.source),
            params=trial["params"],
            configuration=level_configuration(study.space, trial["level"], study.plan.profile, trial["params"]),
        )
        for trial in chosen
    ]
    study.train(study.cross_validation(networks, source, study.development, n_folds), source)
    _set_confirmed_values(study)
    _say_result(study)


def _set_confirmed_values(study: Study) -> None:
    """Set the confirmed values of all trials whose folds are recorded, whichever run confirmed them."""
    folds, predictions = study.frame("folds", Phase.CONFIRM), study.frame("predictions", Phase.CONFIRM)
    whole = folds.groupby("number").size() == study.plan.search_folds
    confirmed = {
        number: getattr(pooled_metrics(rows, study.source.classes), study.metric)
        for number, rows in predictions.groupby("number")
        if whole.get(number, False)
    }
    rows = study.ledger.read("trials").to_pylist()
    study.ledger.replace("trials", [{**row, "confirmed_value": confirmed.get(row["number"])} for row in rows])


def _say_result(study: Study) -> None:
    """Report by how much the search overestimated its best trials."""
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
        replaced = "" if chosen is first else f"; trial {chosen['number']} replaces it"
        study.reporter.say(
            f"{level}: trial {first['number']} {first['value']:.3f} in the search, "
            f"{first['confirmed_value']:.3f} confirmed{replaced}"
        )
    mean = 100 * sum(drops) / len(drops)
    how = f"overestimated its best by {mean:.1f}" if mean >= 0 else f"underestimated its best by {-mean:.1f}"
    study.reporter.say(f"the search {how} points of {study.metric}, on average over the levels")
