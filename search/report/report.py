"""The report of a study: its figures, its model card and its page, as files in its folder."""

from pathlib import Path

from search.analysis.verdict import verdict
from search.common.files import write_text
from search.records.results import Results
from search.report.card import model_card, use_of_study
from search.report.figures.draw import draw_all
from search.report.page.build import build_page
from search.report.page.figurefiles import read_figures


def draw_report(results: Results) -> list[Path]:
    """Draw the figures of a study, finished or not, the card of its network, and its page, report.html.

    Returns:
        The files, the page last.
    Raises:
        StudyFailedError: a file cannot be written.
        InputError: a file of the study is damaged.
    """
    found = verdict(results)
    files = draw_all(results, found)
    if results.model is not None:
        name, card = results.path.resolve().name, results.path / "model" / "README.md"
        write_text(card, model_card(results, found, results.model, name, use_of_study(results.path)))
        files = [*files, card]
    page = results.path / "report.html"
    write_text(page, build_page(results, found, read_figures((results.path / "figures").glob("*"))))
    return [*files, page]
