"""What a study cannot say, as its own tables and description show."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search.data.splits import TEST_SHARE
from search.records.results import Results
from search.report.format import listed

FEW_IMAGES = 30


def caveats(results: Results) -> list[str]:
    """Reasons to doubt a study's numbers, the gravest first."""
    description = results.description
    plan, data = description["plan"], description["data"]
    found = []
    if is_drawn(data):
        found.append("The images are drawn by this program: a demonstration, and no evidence about blood cells.")
    if not description.get("finished"):
        found.append("The study was interrupted or still runs: its numbers will change.")
    found += [f"It was gone on with by force although {change}." for change in description.get("forced", [])]
    found += _small_classes(data, max(plan["search_folds"], plan["folds"]))
    ungrouped = [name for name, images in data.items() if not images["grouped"]]
    if ungrouped:
        found.append(
            f"No groups were given for {listed(ungrouped)}: near duplicates, or cells of one patient or slide, "
            "may lie on both sides of a split, which flatters every score."
        )
    times = description.get("test_scored", 1)
    if times > 1:
        found.append(
            f"The test set was scored {times} times as the study grew: its score is not quite free of choice."
        )
    found.append(
        "The comparison's folds are another partition of the same images as the search's, not nested in them: "
        "through the choice of settings the comparison has seen the images it scores. Only the test score has not."
    )
    if plan["repeats"] == 1:
        found.append(
            "One partition into folds and one seed per fold: another partition would give other numbers "
            "(--repeats adds some)."
        )
    found.append(
        "The intervals know that folds share their training images. They know of no other laboratory, stain or "
        "camera."
    )
    if plan["profile_name"] == "quick":
        profile = plan["profile"]
        found.append(
            f"The quick profile trains networks of {profile['width']:g} times the paper's width for "
            f"{profile['epochs']} epochs: at full size the order may be another."
        )
    return found


def is_drawn(data: Iterable[str]) -> bool:
    """Whether any of the data sets is drawn by this program."""
    return any(name.startswith("synthetic") for name in data)


def _small_classes(data: Mapping[str, Mapping[str, Any]], n_folds: int) -> Iterator[str]:
    """The first data set is searched and compared without its test set, the second whole."""
    for place, (name, images) in enumerate(data.items()):
        part = 1 - TEST_SHARE if place == 0 else 1.0
        counts = {cell: round(part * n) for cell, n in images["classes"].items()}
        small = {cell: n for cell, n in counts.items() if n < max(FEW_IMAGES, n_folds)}
        if small:
            where = " outside the test set" if place == 0 else ""
            plural = len(small) > 1
            yield (
                f"{name} has few images{where} of {listed(f'{cell} (n = {n})' for cell, n in small.items())}: one "
                f"cell more or less moves the sensitivity of {'these classes' if plural else 'this class'}, and "
                "with it balanced accuracy, by whole points."
            )
            fewer = [cell for cell, n in small.items() if n < n_folds]
            if fewer:
                yield f"Of {listed(fewer)} there are fewer images than {n_folds} folds: some folds validate none."
