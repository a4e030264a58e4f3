"""The worker of the search: a process that runs one trial after another for Ray Tune."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune

from search.data.splits import Split
from search.training.checkpoint import Checkpoint
from search.training.types import Images, Step
from search.tuning.gauges import MemoryGauge
from search.tuning.worker import Watch, failure_of


@dataclass(frozen=True)
class Saved:
    """The state that a trial goes on from; None begins it.

    Tune puts what it is given in words, and megabytes of them take seconds.
    """

    checkpoint: bytes | None = field(repr=False)


class TrialActor(tune.Trainable):
    """A worker that runs one trial after another, an epoch a step."""

    def setup(  # type: ignore[override]  # Tune adds what `with_parameters` was given
        self,
        config: dict[str, Any],
        images: Images,
        splits: Sequence[Split],
        seed: int,
        n_threads: int,
        gpu_share: float,
        timeout_s: float | None,
        study: str,
    ) -> None:
        """Start a trial in a new process."""
        from search.training.device import prepare_worker  # the driver imports this module too, and needs no torch

        self._device = prepare_worker(n_threads, gpu_share=gpu_share)
        self._memory = MemoryGauge(study) if self._device.device.type == "cuda" else None
        self._images = images
        self._splits, self._seed, self._timeout_s = splits, seed, timeout_s
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process, which has torch imported and the images at hand."""
        from search.training.folds import run_trial

        with suppress(OSError):
            Path(self.logdir).rmdir()  # Tune makes one for every trial, and nothing is written to it
        self._watch = Watch(self._timeout_s)
        self._title, self._place = new_config["title"], ""
        self._n_epochs = new_config["configuration"].training.epochs
        saved = new_config["saved"].checkpoint
        self._steps = run_trial(
            new_config["configuration"],
            self._splits,
            self._images,
            self._seed,
            self._device,
            None if saved is None else Checkpoint.from_bytes(saved),
        )
        if new_config["trace"]:
            from search.training.trace import with_trace

            self._steps = with_trace(self._steps, self._device)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and validate; the call after the last epoch says that it is done.

        Tune does not show its scheduler a result that is done, so such a one carries no epoch.
        """
        try:
            with self._watch:
                step = next(self._steps, None)
        except Exception as error:  # whatever it is, it ends this trial alone, and its reason goes on record
            return {"failure": failure_of(error), "done": True}
        if step is None:
            return {"done": True}
        self._place = self._where(step)
        if self._memory is not None:
            self._memory.set()
        return {"step": step, "done": False}

    def __repr__(self) -> str:
        """The trial and how far it is.

        Ray asks once, as the process is made, and its dashboard shows that for as long as the process lives,
        whichever trials follow; there is no public way to tell it another. Errors and dumps show the current one.
        """
        return f"{self._title}, {self._place}" if self._place else f"from {self._title}"

    def _where(self, step: Step) -> str:
        """For a person, who counts from 1."""
        epoch = step.epoch.training.epoch
        return f"fold {step.fold + 1}/{len(self._splits)}, epoch {epoch}/{self._n_epochs}"
