"""The limits of a study, from what it did and found."""

from collections.abc import Iterator

from search.analysis.collapse import collapsed_folds
from search.analysis.outcome import Outcome
from search.analysis.selection import collapses
from search.analysis.verdict import Verdict
from search.analysis.words import metric_words
from search.data.classes import class_notes
from search.data.splits import TEST_SHARE
from search.records.description import Description
from search.records.results import Results
from search.records.schema import Phase
from search.report.format import listed, setting_name
from search.space import CONTROL_LEVEL

FEW_IMAGES = 30


def caveats(results: Results, found: Verdict | None) -> list[str]:
    """Reasons to doubt a study's numbers, most serious first; the warnings of its verdict are not repeated."""
    description = results.description
    plan, data = description.plan, description.data
    lines = []
    if description.is_drawn:
        lines.append("The images are synthetic: a demonstration, not evidence about blood cells.")
    if description.finished is None:
        lines.append("The study was interrupted or is still running: its numbers will change.")
    lines += [f"It was resumed with --force although {change}." for change in description.forced]
    if found is not None:
        lines += _of_the_comparison(results, found)
    lines += _small_classes(description)
    ungrouped = [name for name, images in data.items() if not images.grouped and images.role != "report"]
    if ungrouped:
        lines.append(
            f"No groups were given for {listed(ungrouped)}: near duplicates, or cells of one patient or slide, "
            "may lie on both sides of a split, which inflates every score."
        )
    if description.test_scored > 1:
        lines.append(
            f"The test set was scored {description.test_scored} times as the study grew: choices may depend on "
            "its scores."
        )
    lines.append(
        "The comparison's folds are a new partition of the images of the search, not nested in its folds: the "
        "settings were chosen on the same images that the comparison scores. Only the test set played no part in "
        "that choice."
    )
    elsewhere = ""
    source, own = description.source
    for name, other in description.reports.items():
        lines += [f"{note}." for note in class_notes(source, own.classes, name, other.classes)]
    if found is not None and description.target is not None and not results.untouched.empty:
        target, other = description.target
        notes = class_notes(source, own.classes, target, other.classes)
        lines += [f"{note}." for note in notes]
        elsewhere = f" How far one other laboratory is off is seen on {description.target[0]}, untouched."
    lines.append(
        "The intervals allow for other images and other trainings of the same kind. They do not allow for another "
        f"laboratory, stain or camera, nor for settings that the search did not keep.{elsewhere}"
    )
    if plan.profile_name == "quick":
        lines.append(
            f"The quick profile is small ({description.networks}): at full size the levels may rank differently."
        )
    return lines


def _of_the_comparison(results: Results, found: Verdict) -> Iterator[str]:
    """Limits of the runs that were compared."""
    description = results.description
    plan, predictions = description.plan, results.tables["predictions"]
    collapsed: dict[str, list[str]] = {}  # by name of the setting
    for (level, setting), folds in collapsed_folds(predictions[predictions["phase"] == Phase.COMPARE]).items():
        collapsed.setdefault(setting_name(description, setting), []).append(f"{level} in {folds} folds")
    for name, levels in collapsed.items():
        yield (
            f"At {name}, networks collapsed and predict one class alone ({listed(levels)}). Such a level is "
            "not robust, and its collapse dominates its differences and every effect that it is part of."
        )
    kept = results.at_settings["setting"].astype(int).unique().tolist()
    trials = [{str(name): value for name, value in row.items()} for row in results.trials.to_dict("records")]
    for setting, level in collapses(trials, kept) if plan.shares_settings else ():
        yield f"Setting {setting} is not compared because of {level}: at all others it is better than those kept."
    if description.beyond_plan:
        yield (
            f"Looks at the comparison were planned after {listed(map(str, plan.looks))} runs; it was looked at "
            f"after {listed(map(str, description.looked_at))}."
        )
    control = next((finding for finding in found.main if finding.level == CONTROL_LEVEL), None)
    if control is not None and control.outcome in (Outcome.BETTER, Outcome.WORSE):
        yield "The control failed, so read every other outcome here as a hint, not as a result."
    elif control is None and description.factor is not None and not description.is_older:
        yield "Without a control (--control), the study does not test its own intervals."
    if description.factor is not None and not plan.shares_settings:
        complete = results.trials.loc[results.trials["state"] == "COMPLETE", "level"].value_counts()
        counts = listed(f"{level} {complete.get(level, 0)}" for level in description.levels)
        yield f"Every level has settings of its own, the best of few trials (complete trials: {counts})."
    if found.main and found.main[0].n_runs == 1:
        yield (
            "There is one run, with one partition into folds and one seed per fold: another run would give other "
            "numbers (--repeats adds runs)."
        )


def _small_classes(description: Description) -> Iterator[str]:
    """The source is searched and compared on without its test set, the target is used whole."""
    n_folds = max(description.plan.search_folds, description.plan.folds)
    for name, images in description.data.items():
        is_source = name == description.source[0]
        part = 1 - TEST_SHARE if is_source else 1.0
        counts = {label: round(part * n) for label, n in images.classes.items()}
        small = {label: n for label, n in counts.items() if n < max(FEW_IMAGES, n_folds)}
        if small:
            where = " outside the test set" if is_source else ""
            fewest = max(1, min(small.values()))
            moved = f"a single cell moves the sensitivity of a class by up to {100 / fewest:.1f} points"
            if description.metric != "accuracy":
                moved += f", and {metric_words(description.metric)} by about {100 / fewest / len(counts):.1f}"
            names = listed(f"{label} (n = {n})" for label, n in small.items())
            yield f"{name} has few images of {names}{where}: {moved}."
            fewer = [label for label, n in small.items() if n < n_folds]
            if fewer:
                yield f"{listed(fewer)}: fewer images than {n_folds} folds, so some folds validate on none."
