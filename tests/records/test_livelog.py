"""`--log-to`: what TensorBoard, MLflow and W&B read back is what was told, once each."""

import os
import re
import shutil
import socket
import subprocess
import sys
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
import wandb_files
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tiny_study import PATIENCE_S, table

from search.common.errors import InputError
from search.common.metrics import METRIC_NAMES, Metrics
from search.records.arguments import LOGS, Resources
from search.records.livelog import LiveLog, open_log
from search.records.observers import Training
from search.records.schema import KEY_COLUMNS, Key
from search.training.types import EpochResult, EpochScore, epoch_row

# MLflow and the newest SQLAlchemy; Python shows it to no user.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

PARAMS = {"norm": "batch", "dropout": 0.25, "flip": True, "layers": 3, "pool": None}


def trial(number=7, level="1+2", **params):
    key = Key(phase="search", number=number, level=level)
    title = f"trial {number}, placement {level}"
    return Training(key=key, title=title, params=PARAMS | params, n_train=100, epochs=3)


def fold(**params):
    key = Key(phase="compare", level="1+2", setting=0, fold=4)
    return Training(key=key, title="compare 1+2 tuned, fold 4", params=PARAMS | params, n_train=100, epochs=3)


def epoch(number, score, loss=0.5):
    training = EpochResult(epoch=number, lr=0.1, train_loss=loss, train_accuracy=0.5, train_s=2, data_s=1)
    return EpochScore(training=training, validation=Metrics(**dict.fromkeys(METRIC_NAMES, score)), val_s=0.25)


def read_tensorboard(folder):
    """By the run's name: what it has, with its points as {name: {step: value}}."""
    return {
        str(path.relative_to(folder / "tensorboard")): read_events(path)
        for path in {file.parent for file in (folder / "tensorboard").rglob("events.*")}
    }


def read_events(path):
    events = EventAccumulator(str(path), size_guidance={SCALARS: 0}).Reload()
    points = {}
    for name in events.Tags()["scalars"]:
        scalars = events.Scalars(name)
        points[name] = {scalar.step: scalar.value for scalar in scalars}
        assert len(points[name]) == len(scalars)
    params = {}
    for content in events.summary_metadata and events.PluginTagToContent("hparams").values():
        for name, value in HParamsPluginData.FromString(content).session_start_info.hparams.items():
            params[name] = getattr(value, value.WhichOneof("kind"))
    return {
        "state": params.pop("state", None),
        "phase": params.pop("phase", path.parent.name),
        "params": params,
        "value": points.pop("value", {0: None})[0],
        "points": points,
    }


def read_mlflow(folder):
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name != "Default"]
    assert experiment.name == folder.name
    runs = {}
    for found in client.search_runs([experiment.experiment_id]):
        points = {}
        for name in found.data.metrics:
            history = client.get_metric_history(found.info.run_id, name)
            points[name] = {metric.step: metric.value for metric in history}
            assert len(points[name]) == len(history)
        tags = found.data.tags
        state = tags.get("state")
        assert found.info.status == {"FAIL": "FAILED", None: "RUNNING"}.get(state, "FINISHED")
        assert found.info.run_name not in runs
        runs[found.info.run_name] = {
            "state": state,
            "phase": tags["phase"],
            "params": found.data.params,
            "value": points.pop("value", {0: None})[0],
            "points": points,
        }
    return runs


def read_wandb(folder):
    """Runs by name; a run that was resumed has several files, whose steps may overlap."""
    runs, ids = {}, {}
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        summary, points = {}, {}
        for record in wandb_files.records(path):
            if record.WhichOneof("record_type") == "run":
                run = record.run
                assert run.project == run.run_group == folder.name
            elif record.WhichOneof("record_type") == "history":
                step = record.history.step.num
                for name, value in wandb_files.values(record.history.item).items():
                    assert points.setdefault(name, {}).setdefault(step, value) is value
            elif record.WhichOneof("record_type") == "summary":
                summary |= wandb_files.values(record.summary.update)
            elif record.WhichOneof("record_type") == "exit":
                code = record.exit.exit_code
        state = summary.get("state")
        assert code == (state in ("FAIL", None))
        assert ids.setdefault(run.display_name, run.run_id) == run.run_id
        before = runs.get(run.display_name, {"points": {}})["points"]
        runs[run.display_name] = {
            "state": state,
            "phase": run.job_type,
            "params": wandb_files.values(run.config.update),
            "value": summary.get("value"),
            "points": {name: before.get(name, {}) | steps for name, steps in points.items()},
        }
    return runs


READ = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}
TRIAL = {"tensorboard": "search/trial-7-placement-1+2", "mlflow": "trial 7, placement 1+2"}
TRIAL["wandb"] = TRIAL["mlflow"]
FOLD = {"tensorboard": "compare/1+2-tuned-fold-4"}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An empty database of MLflow's; to make one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=LOGS)
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, database, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    path = tmp_path / "where-blocks-belong"
    path.mkdir()
    if kind == "mlflow":
        shutil.copy(database, path)
    return path


def log_to(kind, folder, notes):
    return LiveLog(kind, partial(open_log, kind, folder, "2026-01-01T00:00"), "macro_f1", notes.append)


def tell(kind, folder, *calls):
    """A run of a study that tells its log something, as (what, arguments)."""
    notes = []
    log = log_to(kind, folder, notes)
    for what, *arguments in calls:
        getattr(log, what)(*arguments)
    log.close()
    assert notes == []
    return READ[kind](folder)


def test_what_was_told_is_read_back(kind, folder):
    other = trial(8, "none")
    scores = {(part, number): part / 2 + number / 10 for part in (0, 1) for number in (1, 2, 3)}
    epochs = [(part, epoch(number, score)) for (part, number), score in scores.items()]
    runs = tell(
        kind,
        folder,
        ("begin", trial()),
        ("begin", other),
        *[("epoch", of, part, each) for part, each in epochs for of in (trial(), other)],
        ("end", trial(), "COMPLETE", 0.75),
        ("end", other, "PRUNED", 0.25),
    )
    mine = runs.pop(TRIAL[kind])
    (its,) = runs.values()
    assert (mine["phase"], mine["state"], mine["value"]) == ("search", "COMPLETE", 0.75)
    assert (its["phase"], its["state"], its["value"]) == ("search", "PRUNED", 0.25)
    as_text = {name: str(value) for name, value in PARAMS.items()}
    assert mine["params"] == {"tensorboard": PARAMS | {"pool": "None"}, "mlflow": as_text, "wandb": PARAMS}[kind]
    rows = {3 * part + each.training.epoch: epoch_row(each) for part, each in epochs}
    expected = {
        name: {step: pytest.approx(row[name]) for step, row in rows.items()} for name in rows[1] if name != "epoch"
    }
    expected["score"] = expected["val_macro_f1"]
    assert mine["points"] == its["points"] == expected


def test_an_interrupted_study_goes_on_in_the_same_run(kind, folder):
    """The second run trains an epoch again that lay beyond the checkpoint."""
    first = tell(kind, folder, ("begin", trial()), *[("epoch", trial(), 0, epoch(i, i / 10)) for i in (1, 2)])
    assert (first[TRIAL[kind]]["state"], set(first[TRIAL[kind]]["points"]["score"])) == (None, {1, 2})
    again = [("epoch", trial(), 0, epoch(i, i / 10)) for i in (2, 3)]
    runs = tell(kind, folder, ("begin", trial()), *again, ("end", trial(), "COMPLETE", 0.5))
    assert list(runs) == [TRIAL[kind]]
    assert runs[TRIAL[kind]]["points"]["score"] == {i: pytest.approx(i / 10) for i in (1, 2, 3)}
    assert (runs[TRIAL[kind]]["state"], runs[TRIAL[kind]]["value"]) == ("COMPLETE", 0.5)


@pytest.mark.parametrize("kind", ["tensorboard"], indirect=True)  # MLflow's runs may share a name
def test_an_extended_study_has_a_run_for_each_choice_of_parameters(folder, kind):
    for lr in (0.1, 0.2):
        each = fold(lr=lr)
        runs = tell(kind, folder, ("epoch", each, 0, epoch(1, lr)), ("end", each, "COMPLETE", lr))
    assert {name: run["params"]["lr"] for name, run in runs.items()} == {FOLD[kind]: 0.1, f"{FOLD[kind]}-2": 0.2}


def test_a_tracking_uri_names_another_place(database, tmp_path, monkeypatch):
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere" / "study"
    elsewhere.mkdir(parents=True)
    shutil.copy(database, elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere / 'mlflow.db'}")
    notes = []
    log = log_to("mlflow", study, notes)
    log.epoch(trial(), 0, epoch(1, 0.5))
    log.close()
    assert notes == []
    assert list(read_mlflow(elsewhere)) == [TRIAL["mlflow"]]
    assert not study.exists()


def test_a_server_that_is_not_there_is_told_of_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    notes = []
    log = log_to("mlflow", tmp_path, notes)
    log.epoch(trial(), 0, epoch(1, 0.5))
    log.close()
    (note,) = notes
    assert note.startswith("--log-to mlflow failed")
    assert "127.0.0.1" in note


OFFLINE = """
import os, sys
from pathlib import Path
for name in ("PYTEST_CURRENT_TEST", "CI", "MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY"):
    os.environ.pop(name, None)  # MLflow reports nothing from tests
asked = []
network = ("socket.connect", "socket.getaddrinfo")
here = lambda address: isinstance(address, str) or address[0] == "127.0.0.1"  # W&B's own process
sys.addaudithook(lambda event, what: asked.append(what) if event in network and not here(what[1]) else None)
from search.records.livelog import open_log
from search.records.observers import Training
from search.records.schema import Key
training = Training(key=Key(phase="search", number=7), title="trial 7", params={"lr": 0.1}, n_train=1, epochs=1)
for kind in sys.argv[2:]:
    log = open_log(kind, Path(sys.argv[1]), "2026-01-01T00:00")
    log.epoch(training, 1, {"score": 0.5})
    log.end(training, "COMPLETE", 0.5)
    log.close()
print(asked)
"""


def test_nothing_goes_to_a_network_or_to_the_console_or_into_the_working_directory(tmp_path):
    """Somebody who has not logged in to W&B is not asked to, even at a terminal, and logs offline."""
    folder, home, here = (tmp_path / name for name in ("study", "home", "here"))
    for each in (folder, home, here):
        each.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as proxy:  # W&B's own process would use it
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        environment |= {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
        environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "WANDB_BASE_URL"), address)
        code = [sys.executable, "-c", OFFLINE, folder, *LOGS]
        done = subprocess.run(code, capture_output=True, text=True, timeout=PATIENCE_S, cwd=here, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has come
            proxy.accept()
    assert not list(here.iterdir())
    assert list(read_wandb(folder)) == ["trial 7"]


@pytest.mark.parametrize("kind", LOGS)
def test_a_missing_extra_is_named(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(InputError, match=rf"--log-to {kind}: .*wbc-search\[{kind}\]"):
        Resources(log_to=kind)


@pytest.mark.parametrize("value", ["comet", "TensorBoard", "", "tensorboard,mlflow"])
def test_another_log_is_refused(value):
    with pytest.raises(InputError, match=f"--log-to {value}: .*tensorboard, mlflow"):
        Resources(log_to=value)


@pytest.mark.ray
def test_the_log_of_an_undisturbed_study_has_what_its_tables_have(finished):
    check_against_tables("mlflow", finished)


@pytest.mark.ray
def test_the_log_of_a_study_that_was_interrupted_and_lost_workers_has_what_its_tables_have(interrupted):
    check_against_tables("tensorboard", interrupted)


def check_against_tables(kind, study):
    """Everything is there once; settings may be dropped."""
    assert "--log-to" not in study.printed
    runs = READ[kind](study.folder)
    epochs, trials = table(study.folder, "epochs"), table(study.folder, "trials").set_index("number")
    for phase, rows in epochs.groupby("phase"):
        points = [run["points"].get("train_loss", {}).values() for run in runs.values() if run["phase"] == phase]
        assert sorted(chain(*points)) == pytest.approx(sorted(rows["train_loss"])), phase
        assert len(points) == len(trials if phase == "search" else rows.drop_duplicates(list(KEY_COLUMNS)))
    searched = epochs[epochs["phase"] == "search"].sort_values(["fold", "epoch"])
    for number, row in trials.iterrows():
        name = re.compile(rf"(search/)?trial\W{number}\W+placement\W{row['level']}")
        (mine,) = [run for each, run in runs.items() if name.fullmatch(each)]
        assert mine["state"] == row["state"]
        assert (mine["value"] is None) if pd.isna(row["value"]) else (mine["value"] == pytest.approx(row["value"]))
        scores = searched[searched["number"] == number]["val_balanced_accuracy"]
        assert list(mine["points"].get("score", {}).values()) == pytest.approx(list(scores))
