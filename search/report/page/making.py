"""How a study was made: facts by name, from its description."""

from collections.abc import Mapping
from typing import Any

from search.common.console import duration
from search.records.timing import PARTS
from search.report.format import day, listed


def making(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it takes to repeat a study, and what it ran on."""
    arguments, plan, place = description["arguments"], description["plan"], description.get("environment", {})
    profile = plan["profile"]
    facts = [("command", command) for command in description.get("commands", [])]
    facts += [
        ("started", day(str(description.get("started", "")))),
        ("finished", day(str(description["finished"])) if description.get("finished") else "not yet"),
        ("phases done", ", ".join(description["phases_done"]) or "none"),
        ("seed", f"{arguments['seed']}; those of folds and trials are derived from it, and stand in the tables"),
        (
            "plan",
            f"profile {plan['profile_name']}: {plan['n_trials']} trials on {plan['search_folds']} search folds, "
            f"then {plan['folds']} comparison folds, {_times(plan['repeats'])}; {profile['width']:g} times the "
            f"paper's width, {profile['epochs']} epochs",
        ),
        ("search", f"{arguments.get('sampler', 'tpe')} chooses, {arguments.get('pruner', 'race')} stops early"),
    ]
    if plan["finalists"] > 1:
        facts.append(("confirmed", f"the best {plan['finalists']} of each level, on fresh seeds and folds"))
    for name, images in description["data"].items():
        counts = ", ".join(f"{cell} {n:,}" for cell, n in images["classes"].items())
        grouped = "groups kept together" if images["grouped"] else "no groups"
        facts.append((f"data {name}", f"{images['n_images']:,} images ({counts}); {grouped}"))
        facts.append((f"fingerprint of {name}", images["fingerprint"]))
        facts += [(f"note on {name}", note) for note in images["notes"]]
    if "time" in description:
        facts.append(("time", _time(description["time"])))
    versions = place.get("versions", {})
    if versions:
        facts.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    facts += [(name, str(place[name])) for name in ("python", "platform", "commit") if place.get(name)]
    if description.get("forced"):
        facts.append(("gone on with although", "; ".join(description["forced"])))
    return facts


def _times(repeats: int) -> str:
    return "once" if repeats == 1 else f"{repeats} times over"


def _time(spent: Mapping[str, float]) -> str:
    total = sum(spent.get(name, 0.0) for name in PARTS) or 1.0
    shares = [f"{words} {100 * spent.get(name, 0.0) / total:.0f} %" for name, words in PARTS.items()]
    return f"{duration(spent['elapsed'])}; of all slots: {listed(shares)}"
