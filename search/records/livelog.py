"""What `--log-to` adds: the epochs of every trial and training in TensorBoard's or MLflow's own format.

A run of theirs is a trial of the search, or one training of a later phase. Each keeps its parameters, by the step
the columns of the epochs table, and in the end its value and state.
"""

import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from search.records.observers import Training
from search.records.schema import Key
from search.space import Params
from search.training.types import EpochScore, epoch_row

CLOSE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class RunName:
    """Which run of a log belongs to a training."""

    phase: str
    title: str
    params: Params


class Log(Protocol):
    """Writes runs; called from one thread. What it raises stops the logging."""

    def last_step(self, run: RunName) -> int:
        """The last step on record of a run, after an interruption; 0 of a new one."""
        ...

    def epoch(self, run: RunName, step: int, values: Mapping[str, float]) -> None:
        """Write one epoch."""
        ...

    def end(self, run: RunName, state: str, value: float | None) -> None:
        """Write how a run ended."""
        ...

    def flush(self) -> None:
        """Have all that was written where others read it."""
        ...

    def close(self) -> None:
        """Flush, and let go of what is open; a run that has not ended may be gone on with."""
        ...


class LiveLog:
    """Passes what it is told to a log, in a thread of its own: no server and no import keeps a study waiting.

    A log that fails is told of once, and then no more is written to it.

    Args:
        make: opens the log; called in the thread.
        metric: what is searched for; its column is written once more as `score`.
        note: tells the user something.
    """

    def __init__(self, name: str, make: Callable[[], Log], metric: str, note: Callable[[str], None]) -> None:
        self._name, self._make, self._metric, self._note = name, make, metric, note
        self._todo: queue.SimpleQueue[Callable[[Log], None] | None] = queue.SimpleQueue()
        self._last: dict[Key, int] = {}
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"log to {name}", daemon=True)
        self._thread.start()

    def begin(self, training: Training) -> None:
        """A run is opened with its first epoch."""

    def epoch(self, training: Training, fold: int, epoch: EpochScore) -> None:
        """Write an epoch, but for one that is on record from before an interruption."""
        row = {name: float(value) for name, value in epoch_row(epoch).items() if value is not None}
        step = fold * training.epochs + int(row.pop("epoch"))
        if f"val_{self._metric}" in row:
            row["score"] = row[f"val_{self._metric}"]
        self._put(lambda log: self._write(log, training.key, _name(training), step, row))

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Write how a training ended."""
        self._put(lambda log: log.end(_name(training), state, value))

    def tick(self) -> None:
        """The thread looks after itself."""

    def close(self) -> None:
        """Wait a while for what is still to be written."""
        self._todo.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._note(f"--log-to {self._name}: it takes too long, and lacks the last epochs")

    def _put(self, write: Callable[[Log], None]) -> None:
        if not self._failed:
            self._todo.put(write)

    def _work(self) -> None:
        try:
            with closing(self._make()) as log:
                while (write := self._todo.get()) is not None:
                    write(log)
                    if self._todo.empty():
                        log.flush()
        except Exception as error:  # whatever it is, the study is worth more than its log
            self._failed = True
            first_line = str(error).strip().partition("\n")[0]
            self._note(f"--log-to {self._name} failed, and is given up: {type(error).__name__}: {first_line}")

    def _write(self, log: Log, key: Key, run: RunName, step: int, values: Mapping[str, float]) -> None:
        if key not in self._last:
            self._last[key] = log.last_step(run)
        if step > self._last[key]:
            log.epoch(run, step, values)
            self._last[key] = step


def open_log(name: str, folder: Path, started: str) -> Log:
    """The log of a study, by its name in `search.records.arguments.LOGS`.

    Args:
        folder: of the study.
        started: when the study began, which tells it from others of its name.
    """
    if name == "tensorboard":
        return TensorBoardLog(folder / "tensorboard")
    return MlflowLog(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}", folder, started)


class TensorBoardLog:
    """Event files, a folder a run; written by TensorBoard's own writer, since tensorboardX imports torch."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._events, self._summaries, self._hparams = event_pb2, summary_pb2, summary_v2
        self._open_writer = EventFileWriter
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def last_step(self, run: RunName) -> int:
        """Read from the event files."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        files = self._path(run).glob("events.out.tfevents.*")
        return max((event.step for file in files for event in EventFileLoader(str(file)).Load()), default=0)

    def epoch(self, run: RunName, step: int, values: Mapping[str, float]) -> None:
        """A scalar a value."""
        summary = self._summaries.Summary(
            value=[self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        )
        self._add(run, summary, step)

    def end(self, run: RunName, state: str, value: float | None) -> None:
        """The value as a scalar, the state among the parameters, where TensorBoard filters by it."""
        params = {name: _plain(value) for name, value in run.params.items()}
        params |= {"phase": run.phase, "state": state}
        self._add(run, self._hparams.hparams_pb(params, trial_id=self._path(run).name), 0)
        if value is not None:
            values = [self._summaries.Summary.Value(tag="value", simple_value=value)]
            self._add(run, self._summaries.Summary(value=values), 0)
        writer = self._writers.pop(str(self._path(run)))
        writer.close()

    def flush(self) -> None:
        """Write what the writers hold back."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the writers of runs that have not ended."""
        for writer in self._writers.values():
            writer.close()

    def _add(self, run: RunName, summary: Any, step: int) -> None:
        path = self._path(run)
        if str(path) not in self._writers:
            self._writers[str(path)] = self._open_writer(str(path))
            (path / "params.json").write_text(_as_json(run.params), encoding="utf-8")
        self._writers[str(path)].add_event(self._events.Event(summary=summary, step=step, wall_time=time.time()))

    def _path(self, run: RunName) -> Path:
        """Its own folder; an extended study may train a level again with other parameters."""
        base = self._folder / run.phase / re.sub(r"[^\w.+]+", "-", run.title.removeprefix(f"{run.phase} "))
        number, path = 1, base
        while (path / "params.json").exists() and (path / "params.json").read_text() != _as_json(run.params):
            number += 1
            path = base.with_name(f"{base.name}-{number}")
        return path


class MlflowLog:
    """Runs of one experiment, named as the study; on a server, or in a database inside the study's folder.

    MLflow 3.17 refuses plain files unless it is told not to; SQLite needs sqlalchemy and alembic, which Optuna
    brings.
    """

    def __init__(self, uri: str, folder: Path, started: str) -> None:
        # Said before its import: nothing is reported to MLflow's makers, and a lost server is soon given up.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        from mlflow import MlflowClient, entities

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._entities, self._started = entities, started
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(folder.name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(folder.name)
        # What an interruption left running; a study may have thousands of runs that ended.
        wanted = f"attributes.status = 'RUNNING' and tags.`wbc_search.study` = '{started}'"
        self._ids: dict[str, str] = {
            _identity(known.data.tags["phase"], known.info.run_name, known.data.params): known.info.run_id
            for known in self._client.search_runs([self._experiment], wanted)
        }

    def last_step(self, run: RunName) -> int:
        """Asked of the server."""
        known = self._ids.get(_identity(run.phase, run.title, run.params))
        history = [] if known is None else self._client.get_metric_history(known, "train_loss")
        return max((metric.step for metric in history), default=0)

    def epoch(self, run: RunName, step: int, values: Mapping[str, float]) -> None:
        """A metric a value, in one request."""
        now_ms = int(1000 * time.time())
        metrics = [self._entities.Metric(name, value, now_ms, step) for name, value in values.items()]
        self._client.log_batch(self._id(run), metrics=metrics)

    def end(self, run: RunName, state: str, value: float | None) -> None:
        """A trial that was stopped early has finished in MLflow's terms; the tag tells."""
        identity = self._id(run)
        if value is not None:
            self._client.log_metric(identity, "value", value)
        self._client.set_tag(identity, "state", state)
        self._client.set_terminated(identity, "FAILED" if state == "FAIL" else "FINISHED")
        del self._ids[_identity(run.phase, run.title, run.params)]

    def flush(self) -> None:
        """Every call was answered."""

    def close(self) -> None:
        """Runs that have not ended stay as running; a resumed study finds them by that."""

    def _id(self, run: RunName) -> str:
        identity = _identity(run.phase, run.title, run.params)
        if identity not in self._ids:
            tags = {"wbc_search.study": self._started, "phase": run.phase}
            created = self._client.create_run(self._experiment, run_name=run.title, tags=tags)
            params = [self._entities.Param(name, str(value)) for name, value in run.params.items()]
            self._client.log_batch(created.info.run_id, params=params)
            self._ids[identity] = created.info.run_id
        return self._ids[identity]


def _identity(phase: str, title: str, params: Mapping[str, Any]) -> str:
    """As MLflow has them: all parameters are text."""
    return json.dumps([phase, title, sorted((name, str(value)) for name, value in params.items())])


def _as_json(params: Params) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def _plain(value: Any) -> bool | int | float | str:
    """What TensorBoard takes for a parameter."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _name(training: Training) -> RunName:
    return RunName(phase=training.key.phase, title=training.title, params=training.params)
