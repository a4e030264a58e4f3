"""How a study was made: the facts that are needed to repeat it."""

from collections.abc import Mapping

from search.common.console import duration
from search.records.description import Description, Plan
from search.records.timing import PARTS
from search.report.format import day, listed


def provenance(description: Description) -> list[tuple[str, str]]:
    """Facts about a study and the machine that it ran on, as (name, value)."""
    arguments, plan, environment = description.arguments, description.plan, description.environment
    versions = environment.versions
    facts = [("command", command) for command in description.commands]
    facts += [
        ("started", day(description.started)),
        ("finished", day(description.finished) if description.finished else "not yet"),
        ("phases done", ", ".join(description.phases_done) or "none"),
        ("seed", f"{arguments.seed}; the tables list the seeds of folds and trials, which are derived from it"),
        (
            "plan",
            f"profile {plan.profile_name}: {plan.n_trials} trials on {plan.search_folds} search folds, then "
            f"{_compared(plan)}; {description.networks}",
        ),
        *(
            (("looked at", f"after {listed(map(str, description.looked_at))} runs"),)
            if len(plan.looks) > 1
            else ()
        ),
        ("search", f"sampler {arguments.sampler}, pruner {arguments.pruner}"),
    ]
    if plan.finalists > 1:
        facts.append(("confirmed", f"the best {plan.finalists} trials of each level, with fresh seeds and folds"))
    for name, images in description.data.items():
        counts = ", ".join(f"{label} {n:,}" for label, n in images.classes.items())
        grouped = "groups kept together" if images.grouped else "no groups"
        facts.append((f"data {name}", f"{images.n_images:,} images ({counts}); {grouped}"))
        facts.append((f"fingerprint of {name}", images.fingerprint))
        facts += [(f"note on {name}", note) for note in images.notes]
    if description.time is not None:
        facts.append(("time", _time(description.time)))
    if versions:
        facts.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    machine = (("python", environment.python), ("platform", environment.platform), ("commit", environment.commit))
    facts += [(name, value) for name, value in machine if value]
    if description.forced:
        facts.append(("resumed although", "; ".join(description.forced)))
    return facts


def _compared(plan: Plan) -> str:
    if plan.compare_settings == 0:
        return f"{plan.folds} comparison folds, {plan.repeats} repeat{'' if plan.repeats == 1 else 's'}"
    whose = "" if plan.shares_settings else " of each level"
    return (
        f"at most {plan.most_runs} runs of {plan.folds} folds at the best {plan.compare_settings} settings{whose}"
    )


def _time(spent: Mapping[str, float]) -> str:
    total = sum(spent.get(name, 0.0) for name in PARTS) or 1.0
    shares = [f"{words} {100 * spent.get(name, 0.0) / total:.0f} %" for name, words in PARTS.items()]
    return f"{duration(spent['elapsed'])}; of the time of all slots: {listed(shares)}"
