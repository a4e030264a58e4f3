"""The page of a study, as a browser shows it."""

import re
from itertools import groupby

import pytest
from browser import NARROW, WIDE, opened
from written_study import KINDS, write_study

from search.analysis.verdict import verdict
from search.analysis.words import p_text
from search.records.results import first_repeat, read_results
from search.report.format import settings_text
from search.report.page.build import build_page
from search.report.page.figurefiles import read_figures

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
# Text elements and the contrast with their background by WCAG 2.
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
def nasty(tmp_path_factory):
    """Names, paths and commands that would be something else if they were not escaped."""
    folder = tmp_path_factory.mktemp("page") / "<b>a&b \"c\" 'd'"
    classes = ("<i>one</i>", 'two"', "a & b", "it's", "</td><td>")
    command = "python -m search.run --data '</style><script>alert(2)</script>'"
    data = ("cells</style><script>alert(3)</script>", "<others>")
    write_study(folder, levels=NASTY, classes=classes, data=data, command=command, stop=("transfer", 20))
    return with_page(folder)


def with_page(folder):
    """Write a page without figures."""
    results = read_results(folder)
    (folder / "report.html").write_text(build_page(results, verdict(results), {}), encoding="utf-8")
    return folder


def column(page, index):
    """The texts of a column of the trials table, from top to bottom."""
    return page.locator("#trials tbody tr").evaluate_all(f"rows => rows.map(r => r.cells[{index}].textContent)")


def numbers(texts):
    return [float(text.replace(",", "").replace("−", "-")) for text in texts]


def test_the_answer_comes_first_and_fits_the_first_screen(wide, study):
    found = verdict(read_results(study))
    assert wide.locator("main h2").first.inner_text() == found.headline
    assert f"placement {found.recommendation.level}" in found.headline
    cards = wide.locator(".answer .card")
    assert cards.count() == 5
    for card in cards.all():
        box = card.bounding_box()
        assert box["y"] + box["height"] < WIDE["height"]


def test_every_contrast_has_one_p_value(wide, study):
    """That of the verdict; those of earlier versions are gone."""
    found = verdict(read_results(study))
    families = {"effects": found.main, "effects-1-balanced_accuracy": found.interactions}
    families |= {f"effects-0-{metric}": family for metric, family in found.others.items()}
    for name, family in families.items():
        rows = wide.locator(f"#{name} tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert [(row[0], row[2], row[3], row[4]) for row in rows] == [
            (f.contrast, f.interval, p_text(f.p), f.outcome) for f in family
        ]
    text = wide.locator("body").text_content()
    assert not [word for word in ("Holm", "McNemar", "tuned, equal") if word in text]
    assert f"p = {found.depends_on_setting:.2f}" in text or f"p = {found.depends_on_setting:.3f}" in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_study_has_a_sensible_page(browser, studies, tmp_path, kind):
    results = studies[kind]
    found, page_file = verdict(results), tmp_path / "report.html"
    page_file.write_text(build_page(results, found, {}), encoding="utf-8")
    with opened(browser, tmp_path, NARROW) as page:
        text = page.locator("main").text_content()
        for sentence in (found.headline[1:], *found.reasons, *found.warnings):  # "So far: use"
            assert sentence in text
        assert not re.search(r"\b(nan|None)\b", text)
        assert page.locator("#levels tbody tr").count() == len(results.levels) + 2
        assert (page.locator("#why").count() == 1) == (
            found.recommendation is not None and found.recommendation.is_judged
        )
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_ids_are_unique_and_links_lead_to_them(wide):
    ids = wide.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(set(ids)) == len(ids)
    links = wide.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links
    assert set(links) <= {f"#{name}" for name in ids}
    sections = wide.locator("main > section[id]:not(#verdict)").evaluate_all("all => all.map(one => one.id)")
    contents = wide.locator("nav a").evaluate_all("all => all.map(one => one.getAttribute('href').slice(1))")
    assert contents == sections


def test_the_winners_settings_and_classes_are_there(wide, study):
    results = read_results(study)
    assert settings_text(results.winner_row) in wide.locator("#winner").inner_text()
    images = {"classes": first_repeat(results.of_winner("predictions")), "classes-test": results.tested()}
    for name, rows in images.items():
        shown = wide.locator(f"#{name} tbody tr").evaluate_all(
            "rows => rows.map(row => [row.cells[0].textContent, Number(row.cells[1].textContent)])"
        )
        assert dict(shown) == rows["label"].value_counts().to_dict()


def test_every_column_of_the_trials_sorts_both_ways(wide):
    heads = wide.locator("#trials thead th")
    rows = sorted(wide.locator("#trials tbody tr").all_inner_texts())
    for index in range(heads.count()):
        numeric = "number" in (heads.nth(index).get_attribute("class") or "")
        for click in range(2):
            heads.nth(index).get_by_role("button").click()
            shown = column(wide, index)
            filled = [text for text in shown if text != "–"]
            assert shown == filled + ["–"] * (len(shown) - len(filled)), "what is missing comes last"
            # Numbers sort from the largest, names from the first.
            up = heads.nth(index).get_attribute("aria-sort") == "ascending"
            assert up == (numeric == (click == 1))
            if numeric:
                assert numbers(filled) == sorted(numbers(filled), reverse=not up)
            else:
                assert len(list(groupby(filled))) == len(set(filled)), "equal ones are together"
            assert wide.locator("#trials [aria-sort=ascending], #trials [aria-sort=descending]").count() == 1
    assert sorted(wide.locator("#trials tbody tr").all_inner_texts()) == rows


def test_the_filter_shows_the_trials_that_have_all_words(wide, study):
    field, trials = wide.locator("input[type=search]"), read_results(study).trials
    for text, wanted in (
        ("fail", trials["state"] == "FAIL"),
        (" PRUNED  1+2", (trials["state"] == "PRUNED") & trials["level"].str.contains("1+2", regex=False)),
        ("no such trial", trials["state"].isna()),
    ):
        field.fill(text)
        shown = wide.locator("#trials tbody tr:visible th").all_inner_texts()
        assert sorted(numbers(shown)) == trials.loc[wanted, "number"].tolist()
        assert str(wanted.sum()) in wide.locator("[data-counts=trials]").inner_text()
    field.fill("")
    assert wide.locator("#trials tbody tr:visible").count() == len(trials)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_a_phone_does_not_scroll_sideways(browser, study, nasty, scheme):
    for folder in (study, nasty):
        with opened(browser, folder, NARROW, color_scheme=scheme) as page:
            found = page.evaluate(CONTRASTS)
            assert len(found) > 100
            assert [entry for entry in found if entry[0] < 4.5] == []
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
            assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_on_paper_every_table_and_figure_is_there_in_full(browser, study):
    with opened(browser, study, SHEET) as page:
        page.locator("input[type=search]").fill("no such trial")
        page.emulate_media(media="print")
        parts = page.locator(
            "main :is(table, tr, figure, h2, h3, dd, li, p:not(.filter)):not(nav *, .live, .live *)"
        )
        assert parts.evaluate_all("all => all.filter(p => !p.checkVisibility()).map(p => p.id)") == []
        assert page.locator(".live:visible").count() == 0  # paper has the figures instead
        cut = "s => s.scrollWidth > s.clientWidth || s.scrollHeight > s.clientHeight"
        assert page.locator("main .scroll, main .view").evaluate_all(f"all => all.filter({cut}).length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= SHEET["width"]


def test_without_scripts_everything_can_be_read(browser, study):
    with opened(browser, study, java_script_enabled=False) as page:
        assert page.locator("#figure-curves").is_visible()
        everything = page.locator(
            ":is(main table, main tr, main figure img, main section, main h2):not(.live *, details *)"
        )
        assert everything.count() > 100
        assert all(one.is_visible() for one in everything.all())
        for folded in page.locator("details").all():
            folded.locator("summary").click()
            assert folded.locator("table, img").first.is_visible()
        assert page.locator(".live:visible").count() == 0  # they would be empty
        assert not page.locator(".filter").is_visible()


def test_names_of_any_kind_stay_text(browser, wide, nasty):
    tags = "[...new Set([...document.querySelectorAll('body *')].map(one => one.tagName))]"
    with opened(browser, nasty) as page:
        # The others are of an unfinished study.
        assert set(page.evaluate(tags)) - set(wide.evaluate(tags)) <= {"OL", "PROGRESS", "CODE"}
        assert page.locator("script").count() == 2
        assert page.locator("style").count() == 1
        assert nasty.name in page.title()
        text, description = page.locator("body").text_content(), read_results(nasty).description
        classes = (name for images in description.data.values() for name in images.classes)
        for name in (nasty.name, *NASTY, *description.commands, *description.data, *classes):
            assert name in text
        assert set(column(page, 2)) == set(NASTY)


@pytest.mark.parametrize(
    ("stop", "amount"),
    [(("search", 0), "no trials"), (("compare", 35), "35 of 180"), (("transfer", 20), "20 of 90")],
)
def test_an_unfinished_study_says_so_first(browser, tmp_path, stop, amount):
    folder = with_page(write_study(tmp_path / "study", stop=stop))
    compared = stop[0] == "transfer"
    with opened(browser, folder, NARROW) as page:
        titles = page.locator("main h2").all_inner_texts()
        assert "not finished" in titles[0]
        assert stop[0] in titles[0]
        assert amount in titles[0]
        assert any(title.startswith("So far: ") for title in titles) == compared
        assert ("Nothing is decided" in page.locator("#status").inner_text()) != compared
        assert f"--resume {folder}" in page.locator("#status code").inner_text()
        assert page.locator("#trials tbody tr").count() == len(read_results(folder).trials)
        assert page.locator("#comparison").count() == compared
        assert "interrupted" in page.locator("#caveats").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_the_same_study_gives_the_same_page(study):
    results = read_results(study)
    again = build_page(results, verdict(results), read_figures((study / "figures").iterdir()))
    assert again.encode() == (study / "report.html").read_bytes()
    assert len(again) < 5_000_000
