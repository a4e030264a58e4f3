"""Live logs for `--log-to`: every epoch of every training, for TensorBoard, MLflow or W&B (Weights & Biases).

One of their runs is a trial of the search, or one training of a later phase. It holds the parameters, the columns
of the epochs table by step, and in the end the training's value and state.
"""

import hashlib
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol

from search.records.observers import Training, describe_error
from search.records.schema import Key
from search.space import Params
from search.training.types import EpochScore, epoch_row

CLOSE_S = 60.0


class Log(Protocol):
    """Writes runs; called from one thread. An exception ends the logging."""

    def epoch(self, training: Training, step: int, values: Mapping[str, float]) -> None:
        """Write one epoch."""
        ...

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Write how a run ended."""
        ...

    def flush(self) -> None:
        """Make everything written visible to readers."""
        ...

    def close(self) -> None:
        """Flush and close; a run that has not ended can be resumed."""
        ...


class LiveLog:
    """An observer that writes to a log in a thread of its own, so that no server and no import delays the study.

    A log that fails is reported once and disabled.

    Args:
        make: opens the log; called in the thread.
        metric: the searched metric; its column is also written as `score`.
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
        """Write an epoch, unless it was written before the training lost its worker."""
        row = {name: float(value) for name, value in epoch_row(epoch).items() if value is not None}
        step = fold * training.epochs + int(row.pop("epoch"))
        if f"val_{self._metric}" in row:
            row["score"] = row[f"val_{self._metric}"]
        if step > self._last.get(training.key, 0):
            self._last[training.key] = step
            self._put(lambda log: log.epoch(training, step, row))

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Write how a training ended."""
        self._last.pop(training.key, None)
        self._put(lambda log: log.end(training, state, value))

    def tick(self) -> None:
        """The thread needs no tick."""

    def close(self) -> None:
        """Wait a while for what is still to be written."""
        self._todo.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._note(f"--log-to {self._name}: too slow; the log lacks the last epochs")

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
        except Exception as error:
            self._failed = True
            self._note(f"--log-to {self._name} failed and is disabled: {describe_error(error)}")


def open_log(name: str, folder: Path, started: str) -> Log:
    """The log of a study, by its name in `search.records.arguments.LOGS`.

    Args:
        folder: of the study.
        started: when the study began, which distinguishes it from others of the same name.
    """
    if name == "tensorboard":
        return TensorBoardLog(folder / "tensorboard")
    if name == "wandb":
        return WandbLog(folder, started)
    return MlflowLog(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}", folder, started)


class TensorBoardLog:
    """Event files, one folder per run, written by tensorboardX, which comes with Ray Tune.

    Its import includes torch, which takes about 4 s of one core and 250 MB; only this thread waits for it.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        self._writer_class, self._hparams = SummaryWriter, hparams
        self._folder = folder
        self._writers: dict[Key, Any] = {}

    def epoch(self, training: Training, step: int, values: Mapping[str, float]) -> None:
        """Write each value as a scalar."""
        writer = self._writer(training, step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Write the value as a scalar, and the state with the parameters, by which TensorBoard filters."""
        writer = self._writer(training, 0)
        params = {name: _plain(value) for name, value in training.params.items()}
        for summary in self._hparams({**params, "phase": training.key.phase, "state": state}, {"value": value}):
            writer.file_writer.add_summary(summary)
        if value is not None:
            writer.add_scalar("value", value, 0)
        writer.close()
        del self._writers[training.key]

    def flush(self) -> None:
        """Flush all writers."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the writers of runs that have not ended."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, training: Training, step: int) -> Any:
        """The run's writer. One that resumes a run has readers ignore what was written from this step on."""
        if training.key not in self._writers:
            path = self._path(training)
            self._writers[training.key] = self._writer_class(
                str(path), purge_step=step if path.exists() and step else None, filename_suffix=f".{step}"
            )
            (path / "params.json").write_text(_as_json(training.params), encoding="utf-8")
        return self._writers[training.key]

    def _path(self, training: Training) -> Path:
        """The run's folder; an extended study may train a level again with other parameters."""
        phase, title = training.key.phase, training.title
        base = self._folder / phase / re.sub(r"[^\w.+]+", "-", title.removeprefix(f"{phase} "))
        number, path = 1, base
        while (path / "params.json").exists() and (path / "params.json").read_text() != _as_json(training.params):
            number += 1
            path = base.with_name(f"{base.name}-{number}")
        return path


class MlflowLog:
    """Runs of one experiment named as the study, on a server or in a database in the study's folder.

    MLflow 3.17 refuses plain files unless told otherwise; SQLite needs sqlalchemy and alembic, which Optuna has.
    """

    def __init__(self, uri: str, folder: Path, started: str) -> None:
        # Read at its import: send no telemetry, and give up on a lost server soon.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        from mlflow import MlflowClient, entities

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._entities, self._started = entities, started
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(folder.name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(folder.name)
        # Runs that an interruption left unfinished, by their identity, and their last steps by their ids.
        wanted = f"attributes.status = 'RUNNING' and tags.`wbc_search.study` = '{started}'"
        self._ids: dict[str, str] = {}
        self._last: dict[str, int] = {}
        for known in self._client.search_runs([self._experiment], wanted):
            run = known.info.run_id
            self._ids[_identity(known.data.tags["phase"], known.info.run_name, known.data.params)] = run
            history = self._client.get_metric_history(run, "train_loss")
            self._last[run] = max((metric.step for metric in history), default=0)

    def epoch(self, training: Training, step: int, values: Mapping[str, float]) -> None:
        """Write each value as a metric, in one request, unless an earlier run of the study wrote the epoch."""
        run, now_ms = self._id(training), int(1000 * time.time())
        if step > self._last.get(run, 0):
            metrics = [self._entities.Metric(name, value, now_ms, step) for name, value in values.items()]
            self._client.log_batch(run, metrics=metrics)

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Write value and state; MLflow counts a trial that was stopped early as finished."""
        run = self._id(training)
        if value is not None:
            self._client.log_metric(run, "value", value)
        self._client.set_tag(run, "state", state)
        self._client.set_terminated(run, "FAILED" if state == "FAIL" else "FINISHED")
        del self._ids[_identity_of(training)]

    def flush(self) -> None:
        """Every request was answered."""

    def close(self) -> None:
        """Runs that have not ended stay as running, which is how a resumed study finds them."""

    def _id(self, training: Training) -> str:
        identity = _identity_of(training)
        if identity not in self._ids:
            tags = {"wbc_search.study": self._started, "phase": training.key.phase}
            created = self._client.create_run(self._experiment, run_name=training.title, tags=tags)
            params = [self._entities.Param(name, str(value)) for name, value in training.params.items()]
            self._client.log_batch(created.info.run_id, params=params)
            self._ids[identity] = created.info.run_id
        return self._ids[identity]


class WandbLog:
    """Runs of one project named as the study, at a server if the user has logged in there, else in the folder.

    A run has one id however often its study is resumed; W&B joins what was written under it.
    """

    def __init__(self, folder: Path, started: str) -> None:
        # Read at its import: nothing on the console, and no reports of errors.
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb, self._folder, self._started = wandb, folder, started
        logged_in = wandb.login(prompt=False, verify=False)
        self._mode: Literal["offline"] | None = None if logged_in else "offline"
        self._runs: dict[Key, Any] = {}

    def epoch(self, training: Training, step: int, values: Mapping[str, float]) -> None:
        """Write each value at the epoch's step."""
        self._run(training).log(dict(values), step=step, commit=True)

    def end(self, training: Training, state: str, value: float | None) -> None:
        """Write value and state into the run's summary; W&B counts a trial that was stopped early as finished."""
        run = self._run(training)
        run.summary.update({"state": state} if value is None else {"state": state, "value": value})
        run.finish(exit_code=int(state == "FAIL"))
        del self._runs[training.key]

    def flush(self) -> None:
        """W&B's own process writes what it was told."""

    def close(self) -> None:
        """Mark runs that have not ended as preempted, which a resumed study continues."""
        for run in self._runs.values():
            run.mark_preempting()
            run.finish(exit_code=1)
        self._wandb.teardown()  # only then are its files complete

    def _run(self, training: Training) -> Any:
        if training.key not in self._runs:
            identity = f"{self._folder.name} {self._started} {_identity_of(training)}"
            # Metadata and libraries are the study's, not the run's; the system's load is in Ray's dashboard.
            settings = self._wandb.Settings(
                console="off", symlink=False, disable_git=True,
                x_disable_meta=True, x_disable_stats=True, x_save_requirements=False,
            )  # fmt: skip
            self._runs[training.key] = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT") or self._folder.name,
                group=self._folder.name,
                job_type=training.key.phase,
                name=training.title,
                id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                config=dict(training.params),
                dir=self._folder,
                mode=self._mode,
                resume="allow",
                reinit="create_new",  # several trainings run at once
                settings=settings,
            )
        return self._runs[training.key]


def _identity_of(training: Training) -> str:
    return _identity(training.key.phase, training.title, training.params)


def _identity(phase: str, title: str, params: Mapping[str, Any]) -> str:
    """What a run is found by; MLflow stores all parameters as text."""
    return json.dumps([phase, title, sorted((name, str(value)) for name, value in params.items())])


def _as_json(params: Params) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def _plain(value: Any) -> bool | int | float | str:
    """A parameter as TensorBoard takes it."""
    return value if isinstance(value, bool | int | float | str) else str(value)
