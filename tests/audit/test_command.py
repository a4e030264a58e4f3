"""The command on a folder with one of everything that is suspicious."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from browser import chromium
from drawn_cells import draw_cells, drawn_cell
from PIL import Image, ImageOps

from search.audit.__main__ import app
from search.common.commandline import exit_code

SUSPICIOUS = {
    "lymphocyte/copy.png": "identical",
    "neutrophil/mirrored.png": "two labels",
    "basophil/damaged.png": "cannot be read",
    "basophil/07_mask.png": "masks",
    "basophil/pages.tif": "pages",
    "lymphocyte/palette.png": "modes",
    "neutrophil/padded.png": "black padding",
    "neutrophil/large.png": "off size",
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = draw_cells(tmp_path_factory.mktemp("data") / "cells", per_class=14)
    shutil.copy(folder / "lymphocyte/03.png", folder / "lymphocyte/copy.png")
    ImageOps.mirror(Image.open(folder / "lymphocyte/05.png")).save(folder / "neutrophil/mirrored.png")
    (folder / "basophil/damaged.png").write_bytes((folder / "basophil/00.png").read_bytes()[:300])
    disc = np.hypot(*np.mgrid[-36:36, -36:36]) < 20
    Image.fromarray(np.where(disc, 255, 0).astype(np.uint8)).save(folder / "basophil/07_mask.png")
    drawn_cell(50).save(folder / "basophil/pages.tif", save_all=True, append_images=[drawn_cell(51)])
    drawn_cell(52).quantize(64).save(folder / "lymphocyte/palette.png")
    padded = np.array(drawn_cell(53))
    padded[:, :9] = 0
    Image.fromarray(padded).save(folder / "neutrophil/padded.png")
    drawn_cell(54).resize((200, 200)).save(folder / "neutrophil/large.png")
    (folder / "neutrophil" / "<b>bold.png").write_bytes((folder / "neutrophil/00.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def audited(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    files = "--table", f"{folder}/t.parquet", "--page", f"{folder}/p.html", "--groups-file", f"{folder}/g.csv"
    assert exit_code(app, [str(cells), *files, "--folds", "3"]) == 0
    return folder


@pytest.fixture(scope="module")
def table(audited):
    return pd.read_parquet(audited / "t.parquet").set_index("image")


def test_table_has_a_row_for_every_image(table, cells):
    assert sorted(table.index) == sorted(str(path.relative_to(cells)) for path in cells.rglob("*.*"))


def test_columns_say_what_they_mean(audited):
    schema = pq.read_schema(audited / "t.parquet")
    assert schema.names[:6] == ["source", "image", "label", "group", "split", "note"]
    assert all(field.metadata[b"description"] for field in schema)


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_whatever_is_suspicious_is_noted(table, name):
    assert SUSPICIOUS[name] in table.loc[name, "note"]


def test_few_other_images_are_noted(table):
    partners = ["lymphocyte/03.png", "lymphocyte/05.png", "neutrophil/00.png", "neutrophil/<b>bold.png"]
    others = table.drop(index=[*SUSPICIOUS, *partners])
    assert others["note"].notna().mean() < 0.1


def test_measures_are_null_for_a_damaged_image_alone(table):
    measured = table.loc[:, ["width_px", "mode", "n_pages", "sharpness", "black_share"]]
    assert measured.index[measured.isna().any(axis=1)].tolist() == ["basophil/damaged.png"]
    assert table.loc["basophil/pages.tif", "n_pages"] == 2
    assert table.loc["lymphocyte/palette.png", "mode"] == "P"
    assert table.loc["neutrophil/large.png", "width_px"] == 200


def test_copies_name_their_original(table):
    assert table.loc["lymphocyte/copy.png", "duplicate_of"] == "lymphocyte/03.png"
    assert pd.isna(table.loc["lymphocyte/03.png", "duplicate_of"])


def test_groups_keep_the_same_picture_together(audited, table):
    with (audited / "g.csv").open(newline="") as file:
        groups = {row["file_name"]: row["group"] for row in csv.DictReader(file)}
    assert set(groups) == set(table.index)
    assert groups["lymphocyte/copy.png"] == groups["lymphocyte/03.png"]
    assert groups["neutrophil/mirrored.png"] == groups["lymphocyte/05.png"]
    assert len(set(groups.values())) == len(groups) - 3


def test_page_stands_alone_and_escapes_names(audited):
    text = (audited / "p.html").read_text()
    assert len(text) < 5_000_000
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold.png" in text
    assert 'src="http' not in text
    assert "<script" not in text


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_the_screen(audited, width):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto((audited / "p.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert complaints == []


def test_data_sets_are_compared_with_each_other(cells, tmp_path, capsys):
    other = draw_cells(tmp_path / "other", per_class=2)
    Image.open(cells / "lymphocyte/09.png").rotate(180).save(other / "lymphocyte" / "again.png")
    assert exit_code(app, [str(cells), str(other), "--table", str(tmp_path / "t.parquet")]) == 0
    rows = pd.read_parquet(tmp_path / "t.parquet").set_index(["source", "image"])
    assert "two data sets" in rows.loc[("other", "lymphocyte/again.png"), "note"]
    assert "two data sets" in rows.loc[("cells", "lymphocyte/09.png"), "note"]
    assert "not possible" in capsys.readouterr().out  # ten folds of six images


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["nowhere"], "nowhere"),
        (["cells", "--folds", "1"], "--folds 1"),
        (["cells", "--page", "no/such/folder/p.html"], "no/such/folder"),
        (["cells", "cells"], "cells"),
        (["cells", "other", "--groups-file", "g.csv"], "--groups-file"),
    ],
)
def test_bad_arguments(cells, tmp_path, monkeypatch, capsys, arguments, culprit):
    monkeypatch.chdir(tmp_path)
    Path("cells").symlink_to(cells)
    draw_cells(tmp_path / "other", per_class=2)
    assert exit_code(app, arguments) == 2
    message = capsys.readouterr().err
    assert culprit in message
    assert len(message.splitlines()) == 1
