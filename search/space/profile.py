"""Profiles: the scale of a study, from a quick look to the paper's."""

from dataclasses import dataclass
from functools import partial

from search.space.configuration import OPTIMIZER_NAMES, OptimizerName

# SGD needs about twice as many epochs as AdamW for similar scores, see docs/speed.md.
SGD_EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The scale of a study: how wide the networks are and how much they are trained.

    `configure` takes width, epochs, sides and learning rates from here, so that one space serves a quick look
    on a laptop and the paper's scale on a cluster.

    Attributes:
        width: factor on the channels of every network, see `ModelConfig.width`.
        epochs: of every training on the source data set.
        transfer_epochs: of every training on the target data set, which is usually small and has few batches.
        input_px: sides to choose from; images are decoded once, at all of these sides.
        lr: lowest and highest learning rate.
        optimizer: that epochs and learning rates are meant for; `configure` passes it on, and the batch size.
        batch_size: images per step; few epochs on few images need small batches to make enough steps.
        settings: settings that the search tries at every level, unless `--trials` is given.
        trials_per_level: the same where every level is searched by itself.
        search_folds: number of folds on which a trial is scored where every level is searched by itself, unless
            `--search-folds` is given.
        finalists: where every level is searched by itself, its best trials that are trained again, on new seeds
            and folds, to choose the level's configurations; with 1, the best trials are taken as they are.
    """

    width: float
    epochs: int
    transfer_epochs: int
    input_px: tuple[int, ...]
    lr: tuple[float, float]
    optimizer: OptimizerName = "sgd"
    batch_size: int = 32
    settings: int = 8
    trials_per_level: int
    search_folds: int
    finalists: int = 1

    @property
    def training(self) -> str:
        """Epochs, and the optimizer if it is not the usual SGD, as in a sentence."""
        of = "" if self.optimizer == "sgd" else f" of {OPTIMIZER_NAMES[self.optimizer]}"
        return f"{self.epochs} epochs{of}"

    @property
    def paper_epochs(self) -> int:
        """Epochs of the paper's networks, which are trained with SGD as in the paper."""
        return self.epochs * self._sgd_epochs

    @property
    def paper_transfer_epochs(self) -> int:
        """Epochs of the paper's networks on the target data set."""
        return self.transfer_epochs * self._sgd_epochs

    @property
    def _sgd_epochs(self) -> int:
        """Epochs of SGD for one of the profile's."""
        return 1 if self.optimizer == "sgd" else SGD_EPOCHS


PAPER_PROFILE = Profile(
    width=1.0,
    epochs=40,
    transfer_epochs=40,
    input_px=(48, 56, 64, 70),
    lr=(0.0003, 0.01),
    settings=12,
    trials_per_level=8,
    search_folds=5,
    finalists=3,
)


def _quick(
    *,
    optimizer: OptimizerName,
    epochs: int,
    transfer_epochs: int,
    input_px: tuple[int, ...],
    trials: int,
    width: float = 0.25,
    batch_size: int = 32,
) -> Profile:
    return Profile(
        width=width,
        epochs=epochs,
        transfer_epochs=transfer_epochs,
        input_px=input_px,
        lr={"sgd": (0.002, 0.03), "adamw": (0.0003, 0.003)}[optimizer],
        optimizer=optimizer,
        batch_size=batch_size,
        trials_per_level=trials,
        search_folds=3,
    )


_sgd, _adamw = partial(_quick, optimizer="sgd"), partial(_quick, optimizer="adamw")

QUICK_PROFILES = (
    _sgd(epochs=14, transfer_epochs=40, input_px=(32, 40), trials=4),
    _sgd(epochs=12, transfer_epochs=36, input_px=(28, 32), trials=4),
    _sgd(epochs=12, transfer_epochs=36, input_px=(24, 28), trials=3),
    _sgd(epochs=8, transfer_epochs=16, input_px=(24, 28), trials=3),
    _sgd(epochs=5, transfer_epochs=5, input_px=(24, 28), trials=3),
    _sgd(epochs=4, transfer_epochs=6, input_px=(24,), trials=2, width=0.125),
)
"""For trainings with SGD."""

QUICK_ADAMW_PROFILES = (
    _adamw(epochs=7, transfer_epochs=20, input_px=(32, 40), trials=4),
    _adamw(epochs=6, transfer_epochs=18, input_px=(28, 32), trials=4),
    _adamw(epochs=6, transfer_epochs=18, input_px=(24, 28), trials=3),
    _adamw(epochs=4, transfer_epochs=8, input_px=(24, 28), trials=3, batch_size=16),
    _adamw(epochs=2, transfer_epochs=3, input_px=(24, 28), trials=3, batch_size=16),
    _adamw(epochs=2, transfer_epochs=3, input_px=(24,), trials=2, width=0.125, batch_size=16),
)
"""For trainings with AdamW, which take half of the time; `configure` passes on optimizer and batch size."""
