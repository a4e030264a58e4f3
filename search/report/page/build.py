"""The page of a study as one HTML file that needs nothing beside it: results and figures in, text out."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.analysis.paper import beside_paper
from search.analysis.verdict import Verdict, level_name, verdict
from search.records.results import Results, tuned_row
from search.report.format import Table, day, settings_text
from search.report.page.answer import answer, test_predictions
from search.report.page.caveats import caveats, is_drawn
from search.report.page.curves import curves
from search.report.page.figurefiles import FigureImage
from search.report.page.making import making
from search.report.page.progress import progress
from search.report.page.tables import class_table, comparison_tables, transfer_table, trials_table

HERE = Path(__file__).parent


def build_page(results: Results, figures: Mapping[str, FigureImage]) -> str:
    """Write the page of a study, finished or not.

    Args:
        results: what its folder holds.
        figures: by name, as `read_figures` gives them; a figure that is not there is left out.
    Returns:
        The text of an HTML file. Names of classes, files and levels are escaped, and its policy lets nothing run
        or load that is not in the file.
    """
    description = results.description
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    found = verdict(results.comparison, results.folds, description)
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
        question=description["question"],
        started=day(description["started"]),
        finished=day(description["finished"]) if description.get("finished") else None,
        policy=policy(style, script),
        # These two are this program's own files; all else that the template gets is escaped.
        style=Markup(style),
        script=Markup(script),
        drawn=is_drawn(description["data"]),
        progress=progress(results),
        verdict=found,
        answer=answer(results, found) if found else None,
        settings=settings_text(tuned_row(results, found.winner)) if found else None,
        smaller=description["plan"]["profile"]["width"] < 1,
        winner=level_name(description["factor"], found.winner) if found else None,
        factor=(description["factor"] or "network").replace("_", " "),
        figures=figures,
        tables=_tables(results, found),
        curves=curves(results.epochs, found.winner) if found else None,
        states=_states(results.trials),
        paper=beside_paper(results, found.winner) if found else None,
        making=making(description),
        caveats=caveats(results),
    )


def policy(style: str, script: str) -> str:
    """A content security policy under which this style and this script run, and images within the file show."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _tables(results: Results, found: Verdict | None) -> dict[str, list[Table]]:
    """The tables of each section, where there is something to show."""
    metric, reference = results.description["arguments"]["metric"], results.description["reference"]
    tables: dict[str, list[Table]] = {"comparison": [], "winner": [], "transfer": [], "search": []}
    if found is not None:
        tables["comparison"] = comparison_tables(results.comparison, metric, reference, found.winner)
        compared = _compared(results.predictions, found.winner)
        if len(compared):
            tables["winner"].append(class_table(compared, "classes", "in the comparison, each image in one fold"))
        tested = test_predictions(results, tuned_row(results, found.winner))
        if len(tested):
            tables["winner"].append(class_table(tested, "classes-test", "on the locked test set"))
    if len(results.transfer):
        tables["transfer"] = [transfer_table(results.transfer, metric)]
    if len(results.trials):
        tables["search"] = [trials_table(results.trials)]
    return tables


def _compared(predictions: pd.DataFrame, winner: str) -> pd.DataFrame:
    """The winner's predictions on the comparison's folds, of the first repeat alone, so that images count once."""
    own = predictions[
        (predictions["phase"] == "compare")
        & (predictions["level"] == winner)
        & (predictions["settings"] == "tuned")
    ]
    return own[own["repeat"] == own["repeat"].min()]


def _states(trials: pd.DataFrame) -> dict[str, Any]:
    """How many trials ended in which state, the commonest first."""
    return {} if trials.empty else {str(state): int(n) for state, n in trials["state"].value_counts().items()}
