"""The columns that results/README.md lists are those of search/records/schema.py, and its examples run.

`python tests/test_results_readme.py` updates the lists of columns.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from search.records.ledger import Ledger
from search.records.schema import COLUMNS, KEY_COLUMNS, TABLES, Key

README = Path(__file__).parent.parent / "results" / "README.md"
STUDY = "residual_placement-pbc2172-lisc255"
LISTED = re.compile(r"<!-- columns: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)


def columns_list(table: str) -> str:
    """The columns of a table after the key, or those of the key, as a Markdown table."""
    names = KEY_COLUMNS if table == "key" else TABLES[table]
    lines = ["| column | type | meaning | unit |", "|---|---|---|---|"]
    for name in names:
        type_, meaning, unit = COLUMNS[name]
        lines.append(f"| `{name}` | {type_} | {meaning} | {unit} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """The README with up-to-date lists of columns."""
    return LISTED.sub(lambda found: f"<!-- columns: {found[1]} -->\n{columns_list(found[1])}<!-- end -->", text)


def examples() -> Iterator[tuple[str, str]]:
    """Heading and code of every example."""
    for section in README.read_text(encoding="utf-8").split("\n### ")[1:]:
        heading = section.splitlines()[0]
        for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            yield heading, code


def test_every_table_is_listed_with_its_columns():
    text = README.read_text(encoding="utf-8")
    assert [name for name, _ in LISTED.findall(text)] == ["key", *TABLES]
    assert text == renewed(text), "python tests/test_results_readme.py updates the lists"


def make_study(folder, params, classes, seed=0):
    """The tables of a study of two levels and one of the paper's networks; the second trial of each is better."""
    folder.mkdir(parents=True)
    ledger = Ledger(folder)
    for number, level in enumerate(("none", "1", "none", "1")):
        key = Key(phase="search", number=number, level=level, data="cells", seed=seed)
        row = {f"params_{name}": value for name, value in params.items()}
        ledger.add_row("trials", asdict(key), {**row, "state": "COMPLETE", "value": 0.1 * number + 0.5})
    rows = []
    for level, setting in (("none", 0), ("1", 0), ("paper_plain", None)):
        for fold in range(3):
            key = Key(phase="compare", level=level, setting=setting, data="cells", repeat=0, seed=seed, fold=fold)
            losses = {"train_loss": [1.0, 0.5 + fold], "val_loss": [1.5, 1.0 - 0.1 * fold]}
            ledger.add("epochs", asdict(key), {"epoch": [1, 2], **losses})
            images = {"image": ["a.png", "b.png"], "label": [classes[0]] * 2, "predicted": [classes[0]] * 2}
            probabilities = {f"probability_{name}": [1 / len(classes)] * 2 for name in classes}
            ledger.add("predictions", asdict(key), images | probabilities)
            ledger.add_row("folds", asdict(key), {"n_train": 4, "n_val": 2, "accuracy": 0.8 + 0.01 * fold})
        key = Key(phase="compare", level=level, setting=setting, data="cells")
        scores = {"accuracy": 0.81, "accuracy_low": 0.7, "accuracy_high": 0.9}
        chosen = {f"params_{name}": value for name, value in params.items() if setting is not None}
        rows.append({**asdict(key), **chosen, **scores})
    ledger.replace("comparison", rows)
    ledger.close()


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A folder with the results of studies that have different parameters and classes."""
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path / "results" / STUDY, {"norm": "batch", "lr": 0.01, "px": 28}, ("basophil", "monocyte"))
    make_study(tmp_path / "results" / "other", {"lr": 1, "px": 28.5, "skip": True}, ("lymphocyte", "monocyte"))
    make_study(tmp_path / "results" / "third", {"norm": None}, ("basophil",))
    Ledger(tmp_path / "results").close()  # tables of no study are not found
    begun = tmp_path / "results" / "begun"
    begun.mkdir()
    Ledger(begun).close()
    return tmp_path / "results"


def rows_of(result):
    """The rows that a library returns, sorted; a path counts as its study's name."""
    if isinstance(result, pd.DataFrame):
        rows = result.itertuples(index=False)
    elif isinstance(result, pl.DataFrame):
        rows = result.rows()
    elif isinstance(result, pa.Table):
        rows = result.to_pandas().itertuples(index=False)
    else:
        rows = result.fetchall()
    return sorted(tuple(map(_plain, row)) for row in rows)


def _plain(value):
    if isinstance(value, str):
        return value.split("/")[-2] if "/" in value else value
    return round(float(value), 9)


@pytest.mark.parametrize("heading", dict.fromkeys(heading for heading, _ in examples()))
def test_examples_run_and_all_libraries_give_the_same(studies, heading):
    name = {
        "One table": "trials",
        "What a column means": "meanings",
        "The best trial of each level": "best",
        "The folds behind the comparison": "scatter",
        "Learning curves": "curves",
        "Several studies as one data set": "rows",
    }[heading]
    results = []
    for _, code in [example for example in examples() if example[0] == heading]:
        names = {}
        exec(code, names)
        results.append(names[name])
    if name == "meanings":
        assert results[0]["latency_ms"] == (COLUMNS["latency_ms"][1], "ms")
    elif name == "trials":
        assert [len(rows) for rows in results] == [4] * 4
    else:
        first, *others = [rows_of(result) for result in results]
        assert first
        assert all(rows == first for rows in others)
        wanted = {
            "best": [("1", 3, 0.8), ("none", 2, 0.7)],
            "curves": [(level, epoch) for level in ("1", "none") for epoch in (1, 2)],
            "scatter": [(level, 0.7, 0.9, 0.8, 0.82) for level in ("1", "none", "paper_plain")],
            "rows": [
                (study, level, 0.81)
                for study in sorted(("other", STUDY, "third"))
                for level in ("1", "none", "paper_plain")
            ],
        }[name]
        assert [row[: len(wanted[0])] for row in first] == wanted


@pytest.mark.parametrize("table", ["trials", "predictions", "comparison"])
def test_all_libraries_unite_studies_of_different_columns(studies, table):
    code = [code for heading, code in examples() if heading == "Several studies as one data set"]
    wanted = "probability_monocyte" if table == "predictions" else "params_lr"
    counts = []
    for example in code:
        names = {}
        exec(example.replace("comparison.parquet", f"{table}.parquet").replace("accuracy", wanted), names)
        frame = names["rows"]
        frame = frame.df() if isinstance(frame, duckdb.DuckDBPyRelation) else frame
        frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
        counts.append((len(frame), int(frame[wanted].notna().sum())))
    assert counts == [{"trials": (12, 8), "predictions": (54, 36), "comparison": (9, 4)}[table]] * 4


def test_a_parameter_without_a_value_hinders_no_library(studies):
    # The third study's norm is of no type at all, the first one's is text.
    rows = duckdb.sql("from read_parquet('results/*/trials.parquet', union_by_name = true)").df()
    frames = [pd.read_parquet(studies / name / "trials.parquet") for name in (STUDY, "other", "third")]
    parts = [pl.read_parquet(studies / name / "trials.parquet") for name in (STUDY, "other", "third")]
    for norms in (rows["params_norm"], pd.concat(frames)["params_norm"]):
        assert norms.dropna().tolist() == ["batch"] * 4
    assert pl.concat(parts, how="diagonal_relaxed")["params_norm"].drop_nulls().to_list() == ["batch"] * 4


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
