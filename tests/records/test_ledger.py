import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import search.records.ledger
from search.records.ledger import FLUSH_EVERY_S, Ledger
from search.records.schema import COLUMNS, KEY_COLUMNS, OPTIONAL, TABLES, Key

START = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
ALWAYS = tuple(name for name in TABLES if name not in OPTIONAL)
METRICS = {name: 0.5 for name in ("accuracy", "balanced_accuracy", "macro_f1", "sensitivity", "specificity")}


def trial_row(number, **changes):
    row = {
        "params_lr": 0.01 * (number + 1),
        "params_norm": "batch",
        "trial_id": f"trial-{number:04d}",
        "state": "COMPLETE",
        "value": 0.1 * number,
        "datetime_start": START,
        "datetime_complete": START + timedelta(seconds=number),
        "duration_s": float(number),
        "epochs": 6,
        "folds_done": 2,
        **METRICS,
        "log_loss": 1.5,
        "auc": 0.9,
        "brier": 0.2,
        "calibration_error": 0.1,
        "shift_balanced_accuracy": 0.4,
        "n_parameters": 1000,
        "macs": 2000,
        "train_s": 1.0,
        "images_per_s": None,
        "error": None,
    }
    return row | changes


def fill(ledger):
    """Rows in every table that keeps a journal."""
    for number in range(3):
        key = Key(phase="search", number=number, level="1+2", data="synthetic", seed=0)
        ledger.add_row("trials", asdict(key), trial_row(number))
        for fold in range(2):
            key = Key(phase="search", number=number, level="1+2", data="synthetic", repeat=0, seed=0, fold=fold)
            epochs = {"epoch": [1, 2], "lr": [0.1, 0.0], "train_loss": [1.0, 0.5], "train_accuracy": [0.2, 0.4]}
            epochs |= {name: [None, 0.5] for name in ("val_loss", "val_accuracy", "val_balanced_accuracy")}
            ledger.add("epochs", asdict(key), {**epochs, "train_s": [0.1, 0.1]})
            predictions = {"image": ["a.png", "ä, \u2028b.png"], "label": ["x", "y"], "predicted": ["x", "x"]}
            predictions |= {"probability_x": [0.9, 0.6], "probability_y": [0.1, 0.4]}
            ledger.add("predictions", asdict(key), predictions)
            ledger.add_row(
                "folds", asdict(key), {"n_train": 10, "n_val": 2, **METRICS, "log_loss": 1.0, "train_s": 0.2}
            )


def parquet(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".parquet")


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or "partial" in path.name]


@pytest.fixture
def ledger(open_ledger):
    return open_ledger()


@pytest.fixture
def filled(tmp_path):
    """A folder with a ledger in it that was filled and closed."""
    ledger = Ledger(tmp_path)
    fill(ledger)
    ledger.close()
    return tmp_path


def test_schemas_name_no_column_twice_and_know_them_all():
    for columns in TABLES.values():
        names = (*KEY_COLUMNS, *columns)
        assert len(set(names)) == len(names)
        assert set(names) <= set(COLUMNS)
    used = {name for columns in TABLES.values() for name in columns} | set(KEY_COLUMNS)
    assert set(COLUMNS) == used
    assert all(meaning for _, meaning, _ in COLUMNS.values())
    for name, (_, _, unit) in COLUMNS.items():
        for end, wanted in (("_s", "s"), ("_ms", "ms"), ("_per_s", "1/s")):
            if name.endswith(end) and not (end == "_s" and name.endswith("_per_s")):
                assert unit == wanted


def test_empty_tables_have_their_schema_and_files(tmp_path):
    Ledger(tmp_path).close()
    assert parquet(tmp_path) == sorted(f"{name}.parquet" for name in ALWAYS)
    for name in ALWAYS:
        columns = TABLES[name]
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.num_rows == 0
        assert table.column_names == [*KEY_COLUMNS, *columns]


def test_rows_come_back_with_the_types_and_the_order_of_the_schema(filled):
    for name in ALWAYS:
        columns = TABLES[name]
        table = pq.read_table(filled / f"{name}.parquet")
        names = table.column_names
        assert names[: len(KEY_COLUMNS)] == list(KEY_COLUMNS)
        fixed = [column for column in names if not column.startswith(("params_", "probability_"))]
        assert fixed == [*KEY_COLUMNS, *columns]
        for column in fixed:
            assert table.schema.field(column).type == COLUMNS[column][0]
    trials = pq.read_table(filled / "trials.parquet")
    assert trials.column_names[9:11] == ["params_lr", "params_norm"]
    assert trials.num_rows == 3
    row = trials.to_pylist()[1]
    assert row == {
        **asdict(Key(phase="search", number=1, level="1+2", data="synthetic", seed=0)),
        **trial_row(1),
        "confirmed_value": None,
    }
    predictions = pq.read_table(filled / "predictions.parquet")
    assert predictions.column_names[-2:] == ["probability_x", "probability_y"]
    assert predictions["image"].to_pylist()[:2] == ["a.png", "ä, \u2028b.png"]


def test_every_field_says_what_it_means(filled):
    for name in ALWAYS:
        for field in pq.read_schema(filled / f"{name}.parquet"):
            assert set(field.metadata) == {b"description", b"unit"}
            assert field.metadata[b"description"]


@pytest.mark.parametrize("name", ALWAYS)
def test_keys_are_unique(filled, name):
    rows = pd.read_parquet(filled / f"{name}.parquet")
    key = [*KEY_COLUMNS, *({"epochs": ["epoch"], "predictions": ["image"]}.get(name, []))]
    assert not rows.duplicated(key).any()


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b"],
        [1, 2],
        [1, 2.5],
        [True, False],
        ["a", None],
        [None, 1],
        [None, True],
    ],
    ids=str,
)
def test_parameter_of_any_type(open_ledger, values):
    ledger = open_ledger()
    for number, value in enumerate(values):
        ledger.add_row("trials", asdict(Key(phase="search", number=number)), trial_row(number, params_x=value))
    table = ledger.read("trials")
    column = table["params_x"].to_pylist()
    assert len(column) == len(values)
    for got, value in zip(column, values, strict=True):
        assert got in (value, str(value))
    assert open_ledger().read("trials").equals(table)


def test_conditional_parameter_is_null_where_absent(open_ledger, tmp_path):
    ledger = open_ledger()
    for number in range(4):
        row = trial_row(number)
        if number % 2:
            row |= {"params_group_dropout": 0.25, "params_groups": 8}
        ledger.add_row("trials", asdict(Key(phase="search", number=number)), row)
        ledger.flush()
    table = ledger.read("trials")
    assert table["params_group_dropout"].to_pylist() == [None, 0.25, None, 0.25]
    assert table["params_groups"].to_pylist() == [None, 8, None, 8]
    assert table.schema.field("params_groups").type == pa.int64()
    names = [name for name in table.column_names if name.startswith("params_")]
    assert names == sorted(names) == table.column_names[9 : 9 + len(names)]
    assert pd.read_parquet(tmp_path / "trials.parquet")["params_groups"].isna().tolist() == [True, False] * 2


def test_times_are_kept_to_the_microsecond_in_utc(open_ledger):
    ledger = open_ledger()
    east = START.astimezone(timezone(timedelta(hours=5)))
    whole_second = START.replace(microsecond=0)
    for number, start in enumerate((START, east, whole_second)):
        row = trial_row(number, datetime_start=start)
        ledger.add_row("trials", asdict(Key(phase="search", number=number)), row)
    assert open_ledger().read("trials")["datetime_start"].to_pylist() == [START, START, whole_second]


def test_a_replaced_table_holds_the_new_rows_alone(open_ledger, tmp_path):
    ledger = open_ledger()
    for accuracy in (0.25, 0.75):
        rows = [{**asdict(Key(phase="compare", level=level)), "accuracy": accuracy} for level in ("1", "2")]
        rows[0]["params_groups"] = 8
        ledger.replace("comparison", rows)
    ledger.flush()
    rows = pd.read_parquet(tmp_path / "comparison.parquet")
    assert rows["accuracy"].tolist() == [0.75, 0.75]
    assert rows["params_groups"].isna().tolist() == [False, True]


def test_a_table_can_be_replaced_by_its_own_rows(open_ledger):
    # As the confirmation does with the trials.
    ledger = open_ledger()
    fill(ledger)
    ledger.add_row("trials", asdict(Key(phase="search", number=3)), {**trial_row(3), "params_groups": 8})
    before = ledger.read("trials")
    ledger.replace("trials", before.to_pylist())
    assert ledger.read("trials").equals(before, check_metadata=True)
    confirmed = [{**row, "confirmed_value": row["value"]} for row in before.to_pylist()]
    ledger.replace("trials", confirmed)
    assert open_ledger().read("trials").to_pylist() == confirmed


def test_an_optional_table_is_written_once_it_has_rows(open_ledger, tmp_path):
    assert "pareto" in OPTIONAL
    ledger = open_ledger()
    fill(ledger)
    ledger.flush()
    assert "pareto.parquet" not in parquet(tmp_path)
    rows = [{**asdict(Key(phase="search", number=n)), "value": 0.5, "macs": 7, "params_lr": 0.1} for n in (2, 0)]
    ledger.replace("pareto", rows)
    ledger.flush()
    assert pd.read_parquet(tmp_path / "pareto.parquet")["number"].tolist() == [2, 0]
    ledger.replace("pareto", rows[:1])
    ledger.close()
    assert pd.read_parquet(tmp_path / "pareto.parquet")["number"].tolist() == [2]


def test_flush_waits_its_interval(open_ledger, tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(search.records.ledger.time, "monotonic", lambda: now)
    ledger = open_ledger()
    ledger.flush()

    def on_disk():
        return len(pd.read_parquet(tmp_path / "folds.parquet"))

    def wait_for_rows(n):
        for _ in range(1000):
            if on_disk() == n:
                return
            time.sleep(0.01)  # another thread writes
        raise AssertionError(f"{on_disk()} rows instead of {n}")

    def add(fold):
        ledger.add_row("folds", asdict(Key(phase="test", fold=fold)), {"n_train": 1})

    add(0)
    now += FLUSH_EVERY_S - 0.01
    ledger.flush_if_due()
    assert on_disk() == 0
    now += 0.02
    ledger.flush_if_due()
    wait_for_rows(1)
    add(1)
    ledger.flush_if_due()
    assert on_disk() == 1
    ledger.flush()
    assert on_disk() == 2
    assert FLUSH_EVERY_S < 5
