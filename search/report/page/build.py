"""The page of a study: one HTML file that needs no other file."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.analysis.paper import beside_paper
from search.analysis.verdict import level_name, verdict
from search.records.results import Results, first_repeat
from search.report.format import day, settings_text
from search.report.page.answer import answer
from search.report.page.caveats import caveats
from search.report.page.curves import curves
from search.report.page.figurefiles import FigureImage
from search.report.page.provenance import provenance
from search.report.page.status import status
from search.report.page.table import Table
from search.report.page.tables import class_table, comparison_tables, transfer_table, trials_table

HERE = Path(__file__).parent


def build_page(results: Results, figures: Mapping[str, FigureImage]) -> str:
    """Write the page of a study, finished or not.

    Args:
        figures: by name, as `read_figures` gives them; the page shows those that are there.
    Returns:
        The text of an HTML file. Names of classes, files and levels are escaped, and its content security policy
        blocks everything that is not part of the file.
    """
    description = results.description
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    found = verdict(results)
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("template.html").render(
        name=results.path.resolve().name,
        question=description.question,
        started=day(description.started),
        finished=day(description.finished) if description.finished else None,
        policy=_policy(style, script),
        # These two are this program's own files; everything else is escaped.
        style=Markup(style),
        script=Markup(script),
        drawn=description.is_drawn,
        status=status(results),
        verdict=found,
        answer=answer(results, found) if found else None,
        settings=settings_text(results.winner_row) if found else None,
        smaller=description.plan.profile.width < 1,
        winner=level_name(description.factor, found.winner) if found else None,
        factor=(description.factor or "network").replace("_", " "),
        figures=figures,
        tables=_tables(results),
        curves=curves(first_repeat(results.compared("epochs", found.winner))) if found else None,
        states=results.trials["state"].value_counts().to_dict(),
        paper=beside_paper(results),
        provenance=provenance(description),
        caveats=caveats(description),
    )


def _policy(style: str, script: str) -> str:
    """A content security policy that allows this style, this script, and images in the file."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _tables(results: Results) -> dict[str, list[Table]]:
    """The tables of each section that have rows."""
    of_winner = []
    if results.winner is not None:
        for rows, name, images in (
            (first_repeat(results.compared("predictions", results.winner)), "classes", "in the comparison"),
            (results.tested(), "classes-test", "on the locked test set"),
        ):
            if len(rows):
                of_winner.append(class_table(rows, name, images))
    metric = results.description.metric
    return {
        "comparison": comparison_tables(results),
        "winner": of_winner,
        "transfer": [transfer_table(results.transfer, metric)] if len(results.transfer) else [],
        "search": [trials_table(results.trials)] if len(results.trials) else [],
    }
