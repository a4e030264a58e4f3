"""The page of a study: one HTML file that needs no other file."""

from collections.abc import Mapping, Sequence
from math import isnan

from markupsafe import Markup

from search.analysis.paper import beside_paper
from search.analysis.verdict import ALPHA, Finding, Verdict
from search.analysis.words import level_name, metric_words, p_phrase
from search.records.results import Results, first_repeat
from search.report.format import day, metric_name, settings_text
from search.report.page.answer import answer
from search.report.page.caveats import caveats
from search.report.page.charts import chart_data
from search.report.page.figurefiles import FigureImage
from search.report.page.gallery import gallery
from search.report.page.html import HERE, content_policy, template_environment
from search.report.page.provenance import provenance
from search.report.page.status import status
from search.report.page.table import Table
from search.report.page.tables import (
    class_table,
    effects_table,
    levels_table,
    transfer_tables,
    trials_table,
    untouched_tables,
    why_table,
)

# The library of the charts comes with its licence, see `vendor/`.
STYLES = ("vendor/uPlot.min.css", "style.css")
SCRIPTS = ("script.js", "vendor/uPlot.iife.min.js", "charts.js", "explore.js")


def build_page(results: Results, found: Verdict | None, figures: Mapping[str, FigureImage]) -> str:
    """Write the page of a study, finished or not.

    Args:
        found: what its comparison shows.
        figures: by name, as `read_figures` gives them; the page shows those that are there.
    Returns:
        The text of an HTML file. Names of classes, files and levels are escaped, and its content security policy
        blocks everything that is not part of the file.
    """
    description = results.description
    style, script = (
        "\n".join((HERE / name).read_text(encoding="utf-8") for name in names) for names in (STYLES, SCRIPTS)
    )
    return (
        template_environment(HERE)
        .get_template("template.html")
        .render(
            name=results.path.resolve().name,
            question=description.question,
            started=day(description.started),
            finished=day(description.finished) if description.finished else None,
            policy=content_policy(style, script),
            # These two are this program's own files; everything else is escaped.
            style=Markup(style),
            script=Markup(script),
            drawn=description.is_drawn,
            status=status(results),
            verdict=found,
            answer=answer(results, found) if found else None,
            settings=settings_text(results.winner_row) if found else None,
            smaller=any(width < 1 for width in description.used_widths),
            winner=level_name(description.factor, found.winner) if found else None,
            factor=(description.factor or "network").replace("_", " "),
            figures=figures,
            margin=description.arguments.margin,
            depends=_depends(found) if found else None,
            tables=_tables(results, found),
            folded=_folded(results, found) if found else {},
            charts=chart_data(results, found),
            gallery=gallery(results) if found else None,
            states=results.trials["state"].value_counts().to_dict(),
            paper=beside_paper(results, found) if found else None,
            provenance=provenance(description),
            caveats=caveats(results, found),
        )
    )


def _tables(results: Results, found: Verdict | None) -> dict[str, list[Table]]:
    """The tables of each section that have rows."""
    shown: dict[str, list[Table]] = {
        "why": [],
        "comparison": [],
        "winner": [],
        "transfer": [*(untouched_tables(results) if found else []), *transfer_tables(results, found)],
        "search": [trials_table(results.trials)] if len(results.trials) else [],
    }
    if found is None:
        return shown
    shown["why"] = why_table(results, found)
    if found.main:
        caption = f"Effects and differences: {metric_words(results.description.metric)}"
        shown["comparison"].append(effects_table("effects", caption, found.main, results, found.by_setting))
    advice = found.recommendation
    recommended = found.winner if advice is None else advice.level if advice.is_judged else None
    shown["comparison"].append(levels_table(results, recommended))
    for rows, name, images in (
        (first_repeat(results.of_winner("predictions")), "classes", "in the comparison"),
        (results.tested(), "classes-test", "on the locked test set"),
    ):
        if len(rows):
            shown["winner"].append(class_table(rows, name, images))
    return shown


def _folded(results: Results, found: Verdict) -> dict[str, list[Table]]:
    """Further families of contrasts, by a summary of each group."""
    groups: dict[str, list[tuple[str, Sequence[Finding]]]] = {
        "By other metrics": list(found.others.items()),
        "Interactions of effects": [(results.description.metric, found.interactions)],
        "Against the paper's plain network, in the first run": [
            (metric, [finding for finding in found.paper if finding.metric == metric])
            for metric in dict.fromkeys(finding.metric for finding in found.paper)
        ],
    }
    return {
        summary: [
            effects_table(f"effects-{number}-{metric}", metric_name(metric), family, results)
            for metric, family in families
            if family
        ]
        for number, (summary, families) in enumerate(groups.items())
        if any(family for _, family in families)
    }


def _depends(found: Verdict) -> str | None:
    """The test of whether contrasts depend on the setting, in a sentence."""
    if isnan(found.depends_on_setting):
        return None
    shown = "they do" if found.depends_on_setting < ALPHA else "it is not shown that they do"
    return (
        "Test of whether the effects and differences depend on the setting: "
        f"{p_phrase(found.depends_on_setting)}; {shown}."
    )
