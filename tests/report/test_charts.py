"""The charts of a page, as a browser shows them: linked, filtered, weighed, on any screen."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from browser import NARROW, opened

from search.analysis.verdict import verdict
from search.records.results import read_results
from search.records.schema import TABLES
from search.report.page.build import build_page
from search.report.page.figurefiles import read_figures
from search.report.page.html import HERE

LINKED = ("effects", "scores", "costs", "curves-accuracy", "curves-loss", "reliability", "trials")
PHONE = {"width": 390, "height": 844}


def drawn(page, name):
    """A digest of a chart's pixels."""
    pixels = page.evaluate(f"document.querySelector('#chart-{name} canvas').toDataURL()")
    return hashlib.sha256(pixels.encode()).hexdigest()


def settled(page):
    """Wait until a change of colours, which a browser tells before it paints, is drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def data_of(page):
    return json.loads(page.locator("#chart-data").text_content())


def lit(page):
    """The chosen level, which the bar, the tables and the detail name alike."""
    level = page.locator("#lit").evaluate("choice => choice.value")
    assert page.locator("#levels tr.lit th").all_inner_texts() in ([level], [f"{level}"])
    assert page.locator("#detail-name").inner_text().endswith(f" {level}")
    in_trials = page.locator("#trials tr.lit").evaluate_all("rows => rows.map(row => row.cells[2].textContent)")
    assert set(in_trials) <= {level}
    return level


def test_a_level_chosen_in_a_table_is_lit_in_every_chart(wide, study):
    results = read_results(study)
    for level in [level for level in results.description.levels if level != lit(wide)][:2]:
        before = {name: drawn(wide, name) for name in LINKED}
        confusion = wide.locator("#chart-confusion").inner_text()
        wide.locator("#levels tbody tr", has=wide.locator(f"th:text-is('{level}')")).click()
        assert lit(wide) == level
        assert [name for name in LINKED if drawn(wide, name) == before[name]] == []
        assert wide.locator("#chart-confusion").inner_text() != confusion
        rows = results.compared("predictions", level)
        wrong = int((rows["label"] != rows["predicted"]).sum())
        assert f"{wrong:,} wrong" in wide.locator("#chart-mistakes").inner_text()
        shown = wide.locator("#chart-confusion td.right").all_inner_texts()
        assert sum(int(text.replace(",", "") or 0) for text in shown) == len(rows) - wrong


@pytest.mark.parametrize("name", ["effects", "scores", "costs", "trials"])
def test_a_point_is_read_and_chosen_by_keys_and_by_pointer(wide, name):
    plot, tip = wide.locator(f"#chart-{name} .plot"), wide.locator(f"#chart-{name} .tip")
    plot.focus()
    for _ in range(6):
        wide.keyboard.press("ArrowRight")
    assert tip.is_visible()
    wide.keyboard.press("Enter")
    first = lit(wide)
    assert first in tip.inner_text().splitlines()[0]
    wide.locator("#lit").select_option(index=0 if data_of(wide)["levels"][0] != first else 1)
    assert lit(wide) != first
    if name in ("effects", "scores"):  # a row is its name and all that is right of it
        over = plot.locator(".u-over").bounding_box()
        for share in (0.3, 0.5, 0.7, 0.9):
            plot.locator(".u-over").click(position={"x": over["width"] / 2, "y": share * over["height"]})
            assert lit(wide) in tip.inner_text()


def test_hovering_over_a_trial_tells_its_settings_and_state(wide, study):
    trials = read_results(study).trials.set_index("number")
    wide.locator("#chart-trials .plot").focus()
    tip = wide.locator("#chart-trials .tip")
    for _ in range(4):
        wide.keyboard.press("ArrowRight")
        title, state, about, parameters = tip.locator("> *").all_inner_texts()
        row = trials.loc[int(title.split()[1].rstrip(":"))]
        assert title.endswith(row["level"])
        assert row["state"] in state
        assert f"folds {row['folds_done']}" in about
        assert f"epochs {row['epochs']}" in about
        assert row["params_norm"] in parameters


def test_the_trials_are_filtered_by_state_in_chart_and_table(wide, study):
    states, before = read_results(study).trials["state"], drawn(wide, "trials")
    for state in states.unique():
        box = wide.locator(f"#chart-trials input[value={state}]")
        box.uncheck()
        assert wide.locator("#trials tbody tr:visible").count() == (states != state).sum()
        assert f"{(states != state).sum()} of {len(states)}" in wide.locator("#trials-shown").inner_text()
        assert drawn(wide, "trials") != before
        box.check()
    assert wide.locator("#trials tbody tr:visible").count() == len(states)
    assert drawn(wide, "trials") == before


def test_every_parameter_can_be_the_axis_of_the_trials(wide):
    across, seen = wide.locator("#chart-trials select"), set()
    names = across.locator("option").all_inner_texts()
    assert names == ["trial", *(parameter["name"] for parameter in data_of(wide)["trials"]["parameters"])]
    for name in names:
        across.select_option(label=name)
        seen.add(drawn(wide, "trials"))
    assert len(seen) == len(names)
    across.select_option(index=0)


@pytest.mark.parametrize("with_noise", [True, False])
def test_a_higher_price_moves_the_recommendation_to_cheaper_levels(wide, study, with_noise):
    results = read_results(study)
    weighed = data_of(wide)["costs"]["weighed"]
    wide.locator("#noise").set_checked(with_noise)
    macs = results.levels.set_index("level")["macs"]
    price, chosen = wide.locator("#price"), []
    for step in range(0, 101, 5):
        price.evaluate(
            "(slider, share) => { slider.value = share * slider.max; slider.dispatchEvent(new Event('input')); }",
            step / 100,
        )
        chosen.append(wide.locator("#weighed-level").get_attribute("data-level"))
    costs = [macs[level] for level in chosen]
    assert costs == sorted(costs, reverse=True)
    assert chosen[-1] == macs.idxmin()
    if with_noise:
        assert chosen[0] == results.levels.set_index("level")[results.description.metric].idxmax()
        assert len(set(chosen)) > 1
        assert "below the noise" in wide.locator("#weighed-why").inner_text() or chosen[-1] == macs.idxmin()
    else:
        names = data_of(wide)["levels"]
        assert {names.index(level) for level in chosen} <= set(weighed["shown"])


def test_a_gain_that_is_open_is_said_to_be_below_the_noise(wide, study):
    found = {finding.level: finding for finding in verdict(read_results(study)).main if finding.level}
    wide.locator("#noise").check()
    wide.locator("#price").evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    finding = found[wide.locator("#weighed-level").get_attribute("data-level")]
    said = wide.locator("#weighed-why").inner_text()
    assert ("below the noise" in said) == (finding.outcome != "better")
    assert finding.interval in said


def test_a_cell_of_the_confusion_matrix_picks_its_mistakes(wide, study):
    level = lit(wide)
    rows = read_results(study).compared("predictions", level)
    wrong = rows[rows["label"] != rows["predicted"]]
    (label, predicted), n = next(iter(wrong.groupby(["label", "predicted"]).size().items()))
    classes = data_of(wide)["classes"]
    table = wide.locator("#chart-confusion tbody tr").nth(classes.index(label))
    table.locator("td").nth(classes.index(predicted)).click()
    assert f"{label} taken for {predicted}: {n}" in wide.locator("#chart-mistakes .title").inner_text()
    named = wide.locator("#chart-mistakes code").all_inner_texts()
    assert named
    assert set(named) <= set(wrong[(wrong["label"] == label) & (wrong["predicted"] == predicted)]["image"])


def test_charts_change_with_the_colours_of_the_system(browser, study):
    with opened(browser, study, color_scheme="light") as page:
        light = {name: drawn(page, name) for name in LINKED}
        page.emulate_media(color_scheme="dark")
        settled(page)
        assert [name for name in LINKED if drawn(page, name) == light[name]] == []
        page.emulate_media(color_scheme="light")
        settled(page)
        assert {name: drawn(page, name) for name in LINKED} == light


@pytest.mark.parametrize("viewport", [PHONE, NARROW, {"width": 1920, "height": 1000}])
def test_charts_fit_any_screen(browser, study, viewport):
    with opened(browser, study, viewport) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        wider = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.id)"
        assert page.locator(".drawn").evaluate_all(wider) == []
        for plot in page.locator(".plot:visible").all():
            box, around = plot.locator(".uplot").bounding_box(), plot.locator("..").bounding_box()
            assert box["width"] == pytest.approx(around["width"], abs=2)


def test_the_library_comes_with_its_licence_and_is_named_in_the_documentation():
    vendor = HERE / "vendor"
    library, licence = (vendor / "uPlot.iife.min.js").read_text(), (vendor / "uPlot.LICENSE").read_text()
    version = re.search(r"uPlot \(v([\d.]+)\)", library)[1]
    assert "MIT" in licence
    documented = (Path(__file__).parents[2] / "docs" / "page.md").read_text()
    assert version in documented


def test_a_study_of_a_thousand_trials_has_a_small_page(study):
    results = read_results(study)
    trials = results.trials
    copies = [trials.assign(number=trials["number"] + k * len(trials)) for k in range(1000 // len(trials))]
    tables = {name: results.tables[name] for name in TABLES}
    many = replace(results, tables=tables | {"trials": pd.concat(copies, ignore_index=True)})
    assert len(many.trials) == 1000
    page = build_page(many, verdict(results), read_figures((study / "figures").iterdir()))
    assert len(page.encode()) < 5_000_000
