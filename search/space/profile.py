"""Profiles: the scale of a study, from a quick look to the paper's."""

from dataclasses import dataclass


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
    settings: int = 8
    trials_per_level: int
    search_folds: int
    finalists: int = 1


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
    *, epochs: int, transfer_epochs: int, input_px: tuple[int, ...], trials: int, width: float = 0.25
) -> Profile:
    return Profile(
        width=width,
        epochs=epochs,
        transfer_epochs=transfer_epochs,
        input_px=input_px,
        lr=(0.002, 0.03),
        trials_per_level=trials,
        search_folds=3,
    )


QUICK_PROFILES = (
    _quick(epochs=14, transfer_epochs=40, input_px=(32, 40), trials=4),
    _quick(epochs=12, transfer_epochs=36, input_px=(28, 32), trials=4),
    _quick(epochs=12, transfer_epochs=36, input_px=(24, 28), trials=3),
    _quick(epochs=8, transfer_epochs=16, input_px=(24, 28), trials=3),
    _quick(epochs=5, transfer_epochs=5, input_px=(24, 28), trials=3),
    _quick(epochs=4, transfer_epochs=6, input_px=(24,), trials=2, width=0.125),
)
