"""The limits of a study, from its description."""

from collections.abc import Iterator

from search.data.splits import TEST_SHARE
from search.records.description import Description
from search.report.format import listed

FEW_IMAGES = 30


def caveats(description: Description) -> list[str]:
    """Reasons to doubt a study's numbers, most serious first."""
    plan, data = description.plan, description.data
    found = []
    if description.is_drawn:
        found.append("The images are synthetic: a demonstration, not evidence about blood cells.")
    if description.finished is None:
        found.append("The study was interrupted or is still running: its numbers will change.")
    found += [f"It was resumed with --force although {change}." for change in description.forced]
    found += _small_classes(description)
    ungrouped = [name for name, images in data.items() if not images.grouped]
    if ungrouped:
        found.append(
            f"No groups were given for {listed(ungrouped)}: near duplicates, or cells of one patient or slide, "
            "may lie on both sides of a split, which inflates every score."
        )
    if description.test_scored > 1:
        found.append(
            f"The test set was scored {description.test_scored} times as the study grew: choices may depend on "
            "its scores."
        )
    found.append(
        "The comparison's folds are a new partition of the images of the search, not nested in its folds: the "
        "settings were chosen on the same images that the comparison scores. Only the test set played no part in "
        "that choice."
    )
    if plan.repeats == 1:
        found.append(
            "There is one partition into folds and one seed per fold: another partition would give other numbers "
            "(--repeats adds partitions)."
        )
    found.append(
        "The intervals allow for folds that share training images. They do not allow for another laboratory, "
        "stain or camera."
    )
    if plan.profile_name == "quick":
        found.append(
            f"The quick profile trains networks of {plan.profile.width:g} times the paper's width for "
            f"{plan.profile.epochs} epochs: at full size the levels may rank differently."
        )
    return found


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
            classes = "this class" if len(small) == 1 else "these classes"
            yield (
                f"{name} has few images of {listed(f'{label} (n = {n})' for label, n in small.items())}{where}: a "
                f"single cell moves the sensitivity of {classes}, and with it balanced accuracy, by whole points."
            )
            fewer = [label for label, n in small.items() if n < n_folds]
            if fewer:
                yield f"{listed(fewer)}: fewer images than {n_folds} folds, so some folds validate on none."
