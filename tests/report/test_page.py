"""The page of a study, as a browser shows it."""

import re
from contextlib import contextmanager
from itertools import groupby

import pandas as pd
import pytest
from browser import chromium
from tiny_study import PATIENCE_S, table
from written_study import write_study

from search.records.results import read_results, winner
from search.report.__main__ import main
from search.report.format import settings_text
from search.report.page.build import build_page
from search.report.page.figurefiles import read_figures

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
# An A4 sheet's width less its margins, at 96 px an inch.
SHEET = {"width": 688, "height": 1000}
NASTY = (
    "none",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><b>bold</b>",
    "a & b &amp; c",
    "it's `${7*7}` {{ 7*7 }}",
    "1+\\2 --> <!--",
    "a-name-without-a-break-" * 8,
)
# Text that stands on its own background, and how far its colour stands out from it by WCAG 2.
CONTRASTS = """() => {
  const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const below = (node) => {
    const colour = node ? getComputedStyle(node).backgroundColor : 'rgb(255, 255, 255)';
    return colour === 'rgba(0, 0, 0, 0)' ? below(node.parentElement) : colour;
  };
  const shown = [...document.querySelectorAll('body *:not(svg, svg *, script)')].filter((node) =>
    node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  return shown.map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(below(node))].sort((x, y) => x - y);
    return [(b + 0.05) / (a + 0.05), node.textContent.trim().slice(0, 60)];
  });
}"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of many trials, with its figures and its page."""
    folder = write_study(tmp_path_factory.mktemp("page") / "where-blocks-belong", n_trials=200)
    main(folder)
    return folder


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Names, paths and commands that would be something else if they were not escaped."""
    folder = tmp_path_factory.mktemp("page") / "<b>a&b \"c\" 'd'"
    classes = ("<i>one</i>", 'two"', "a & b", "it's", "</td><td>")
    command = "python -m search.run --data '</style><script>alert(2)</script>'"
    data = ("cells</style><script>alert(3)</script>", "<others>")
    write_study(folder, levels=NASTY, classes=classes, data=data, command=command, stop=("transfer", 20))
    return with_page(folder)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def with_page(folder):
    """Write a page without figures, which take longest."""
    (folder / "report.html").write_text(build_page(read_results(folder), {}), encoding="utf-8")
    return folder


@contextmanager
def opened(browser, folder, viewport=WIDE, **options):
    """The page in a browser that has nothing to complain of and asks for nothing beside the file."""
    address = (folder / "report.html").as_uri()
    context = browser.new_context(viewport=viewport, **options)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {address}
    context.close()


def column(page, index):
    """What the trials table shows in a column, from top to bottom."""
    return page.locator("#trials tbody tr").evaluate_all(f"rows => rows.map(r => r.cells[{index}].textContent)")


def numbers(texts):
    return [float(text.replace(",", "").replace("−", "-")) for text in texts]


def test_the_verdict_comes_first_and_fits_the_first_screen(browser, study):
    with opened(browser, study) as page:
        level = winner(read_results(study))
        headline = page.locator("main h2").first
        assert headline.inner_text().startswith(f"Placement {level} came out best")
        assert headline.inner_text().endswith("is not settled.")
        for title in ("Which placement", "How sure", "What it costs", "On the locked test set"):
            box = page.locator(".answer .card", has_text=title).bounding_box()
            assert box["y"] + box["height"] < WIDE["height"]


def test_names_of_places_are_unique_and_links_lead_to_them(browser, study):
    with opened(browser, study) as page:
        names = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
        assert len(set(names)) == len(names)
        links = page.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
        assert links
        assert set(links) <= {f"#{name}" for name in names}
        sections = page.locator("main > section[id]:not(#verdict)").evaluate_all("all => all.map(one => one.id)")
        contents = page.locator("nav a").evaluate_all("all => all.map(one => one.getAttribute('href').slice(1))")
        assert contents == sections


def test_the_winners_settings_and_each_class_on_both_kinds_of_images_are_there(browser, study):
    results = read_results(study)
    level, rows = winner(results), results.predictions
    own = rows["level"] == level
    images = {
        "classes": rows[own & (rows["phase"] == "compare") & (rows["settings"] == "tuned")],
        "classes-test": rows[own & (rows["phase"] == "test")],
    }
    tuned = results.comparison[results.comparison["settings"] == "tuned"].set_index("level")
    with opened(browser, study) as page:
        assert f"Its settings: {settings_text(tuned.loc[level])}." in page.locator("#winner").inner_text()
        for name, of_table in images.items():
            shown = page.locator(f"#{name} tbody tr").evaluate_all(
                "rows => rows.map(row => [row.cells[0].textContent, Number(row.cells[1].textContent)])"
            )
            assert dict(shown) == of_table["label"].value_counts().to_dict()


def test_every_column_of_the_trials_sorts_both_ways(browser, study):
    with opened(browser, study) as page:
        heads = page.locator("#trials thead th")
        rows = sorted(page.locator("#trials tbody tr").all_inner_texts())
        assert len(rows) == 200
        for index in range(heads.count()):
            numeric = "number" in (heads.nth(index).get_attribute("class") or "")
            for _ in range(2):
                heads.nth(index).get_by_role("button").click()
                shown = column(page, index)
                filled = [text for text in shown if text != "–"]
                assert shown == filled + ["–"] * (len(shown) - len(filled)), "what is missing comes last"
                values = numbers(filled) if numeric else filled
                up = heads.nth(index).get_attribute("aria-sort") == "ascending"
                if numeric:
                    assert values == sorted(values, reverse=not up)
                else:  # equal ones stand together
                    assert len(list(groupby(values))) == len(set(values))
                assert page.locator("#trials [aria-sort=ascending], #trials [aria-sort=descending]").count() == 1
        assert sorted(page.locator("#trials tbody tr").all_inner_texts()) == rows


def test_numbers_sort_from_the_largest_and_names_from_the_first(browser, study):
    with opened(browser, study) as page:
        page.locator("#trials").get_by_role("button", name="value", exact=True).click()
        assert float(column(page, 3)[0]) == round(table(study, "trials")["value"].max(), 3)
        page.locator("#trials").get_by_role("button", name="state", exact=True).click()
        assert column(page, 2) == sorted(table(study, "trials")["state"])


def test_the_filter_shows_the_trials_that_have_all_words(browser, study):
    with opened(browser, study) as page:
        field, rows = page.get_by_label("Show only trials that contain"), page.locator("#trials tbody tr")
        trials = table(study, "trials")
        for text, wanted in (
            ("fail", trials["state"] == "FAIL"),
            (" PRUNED  1+2+3", (trials["state"] == "PRUNED") & (trials["level"] == "1+2+3")),
            ("no such trial", trials["state"].isna()),
        ):
            field.fill(text)
            shown = page.locator("#trials tbody tr:visible th").all_inner_texts()
            assert numbers(shown) == trials.loc[wanted, "number"].tolist()
            assert page.locator("output").inner_text() == f"{wanted.sum()} of 200"
        field.fill("")
        assert page.locator("#trials tbody tr:visible").count() == rows.count() == 200
        assert page.locator("output").inner_text() == ""


def test_pointing_at_the_curves_shows_the_values_of_the_epoch(browser, study):
    epochs = table(study, "epochs")
    own = epochs[(epochs["phase"] == "compare") & (epochs["level"] == winner(read_results(study)))]
    own = own[own["settings"] == "tuned"]
    with opened(browser, study) as page:
        panel, shown = page.locator("#curves svg").first, page.locator("#read-off")
        last = own["epoch"].max()
        for share, epoch in ((0.12, 1), (0.97, last), (0.55, (1 + last) // 2)):
            box = panel.bounding_box()
            panel.hover(position={"x": share * box["width"], "y": box["height"] / 2})
            assert shown.locator("thead th").first.inner_text() == f"epoch {epoch}"
            assert_values(shown, own[own["epoch"] == epoch])
        panel.focus()
        page.keyboard.press("ArrowLeft")
        assert_values(shown, own[own["epoch"] == (1 + last) // 2 - 1])


def assert_values(shown, rows):
    """The table holds the mean and the folds of accuracy and loss, of training and validation."""
    for name in ("training accuracy", "validation accuracy", "training loss", "validation loss"):
        part, quantity = name.split()
        values = rows.sort_values("fold")[f"{part.removesuffix('ing').removesuffix('idation')}_{quantity}"]
        texts = shown.get_by_role("row", name=re.compile(f"^{name}")).locator("td").all_inner_texts()
        assert numbers(texts) == pytest.approx([values.mean(), *values], abs=6e-4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, study, nasty, scheme):
    for folder in (study, nasty):
        with opened(browser, folder, color_scheme=scheme) as page:
            found = page.evaluate(CONTRASTS)
            assert len(found) > 100
            assert [entry for entry in found if entry[0] < 4.5] == []
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")


def test_a_phone_does_not_scroll_sideways(browser, study, nasty):
    for folder in (study, nasty):
        with opened(browser, folder, NARROW) as page:
            assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
            page.locator("a[href='#terms']").first.click()
            assert page.evaluate("window.scrollX") == 0


def test_on_paper_every_table_and_figure_is_there_in_full(browser, study):
    with opened(browser, study, SHEET) as page:
        page.get_by_label("Show only trials that contain").fill("no such trial")
        page.emulate_media(media="print")
        parts = page.locator("main :is(table, tr, figure, h2, h3, dd, li, p:not(.filter)):not(nav *)")
        gone = parts.evaluate_all("all => all.filter(p => !p.checkVisibility()).map(p => p.id)")
        assert gone == ["figure-curves"]  # the drawn curves take its place
        cut = "s => s.scrollWidth > s.clientWidth || s.scrollHeight > s.clientHeight"
        assert page.locator("main .scroll, main .view").evaluate_all(f"all => all.filter({cut}).length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= SHEET["width"]
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_all_can_be_read(browser, study):
    with opened(browser, study, java_script_enabled=False) as page:
        assert page.locator("#figure-curves").is_visible()
        for part in ("main table", "main figure img", "main section", "main h2"):
            everyone = page.locator(f"{part}:not(#curves *)")
            assert everyone.count()
            assert all(one.is_visible() for one in everyone.all())
        assert page.locator("#trials tbody tr:visible").count() == 200
        assert not page.locator("#curves").is_visible()  # there would be nothing in it
        assert not page.locator(".filter").is_visible()


def test_names_of_any_kind_stay_text(browser, study, nasty):
    with opened(browser, study) as page:
        kinds = page.evaluate("[...new Set([...document.querySelectorAll('body *')].map(one => one.tagName))]")
    with opened(browser, nasty) as page:
        found = page.evaluate("[...new Set([...document.querySelectorAll('body *')].map(one => one.tagName))]")
        assert set(found) - set(kinds) <= {"OL", "PROGRESS", "CODE"}  # of an unfinished study
        assert page.locator("script").count() == 2
        assert page.locator("style").count() == 1
        assert nasty.name in page.title()
        text = page.locator("body").text_content()
        description = read_results(nasty).description
        for name in (nasty.name, *NASTY, *description["commands"], *description["data"]):
            assert name in text
        for classes in (images["classes"] for images in description["data"].values()):
            assert all(name in text for name in classes)
        shown = page.locator("#trials tbody tr").evaluate_all("rows => rows.map(r => r.cells[1].textContent)")
        assert set(shown) == set(NASTY)


@pytest.mark.parametrize(
    ("stop", "headline"),
    [
        (("search", 0), "This study has not finished: its phase search has no finished trial yet."),
        (("search", 10), "This study has not finished: it was in its phase search, with 10 of 24 trials."),
        (("compare", 35), "This study has not finished: it was in its phase compare, with 35 of 180 trainings."),
        (("transfer", 20), "This study has not finished: it was in its phase transfer, with 20 of 90 trainings."),
    ],
)
def test_an_unfinished_study_says_so_first(browser, tmp_path, stop, headline):
    folder = with_page(write_study(tmp_path / "study", stop=stop))
    compared = stop[0] in ("test", "transfer")
    with opened(browser, folder, NARROW) as page:
        titles = page.locator("main h2").all_inner_texts()
        assert titles[0] == headline
        assert any(title.startswith("So far: ") for title in titles) == compared
        assert ("Nothing is decided yet" in page.locator("#progress").inner_text()) != compared
        assert f"--resume {folder}" in page.locator("#progress code").inner_text()
        assert page.locator("#trials tbody tr").count() == len(table(folder, "trials"))
        assert page.locator("#comparison").count() == compared
        assert "interrupted or still runs" in page.locator("#caveats").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_a_page_of_many_trials_is_small_and_the_same_twice(study):
    page = (study / "report.html").read_bytes()
    assert len(page) < 5_000_000
    assert len(pd.read_parquet(study / "trials.parquet")) == 200
    again = build_page(read_results(study), read_figures((study / "figures").iterdir()))
    assert again.encode() == page
