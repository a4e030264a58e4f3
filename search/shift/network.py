"""The network that every laboratory trains: a point of a space, or the winner of a study."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from search.common.errors import InputError
from search.records.results import read_results
from search.space import Configuration, FixedSuggester, Preparation, Profile, Space, TrainingConfig
from search.space.load import load_space
from search.training.cost import image_cost
from search.training.rebuild import from_json, source_of
from search.training.trainedmodel import CONFIG

ProfileName = Literal["quick", "paper"]
# Five trainings of five folds within seven minutes on two cores of a Sapphire Rapids, see
# `search.study.plan.QUICK_COST_PER_S`.
QUICK_COST = 7 * 60 * 1.7e11
PLANNED_TRAININGS = 25


@dataclass(frozen=True, kw_only=True)
class TrainedKind:
    """What is trained.

    Attributes:
        name: for people, such as "residual_placement 1, quick".
        most_epochs: of a laboratory with few images, see `epochs_for`.
        code: file that defines the network; None for one of this program's.
    """

    name: str
    configuration: Configuration
    most_epochs: int
    code: Path | None = None

    def for_laboratory(self, n_images: int, n_largest: int) -> Configuration:
        """The configuration for a laboratory of n images, where the largest has `n_largest`.

        A laboratory with few images has few steps in an epoch, so it is trained for more epochs: as many steps as
        the largest, but at most `most_epochs`.
        """
        training = self.configuration.training
        if self.configuration.is_fitted_at_once:
            return self.configuration
        epochs = round(training.epochs * n_largest / n_images)
        most = max(self.most_epochs, training.epochs)
        return replace(self.configuration, training=replace(training, epochs=min(epochs, most)))


def from_space(
    name_or_path: str, level: str | None, profile_name: ProfileName, n_classes: int, sizes: list[int]
) -> TrainedKind:
    """The first point of a space at a level.

    Args:
        level: None: the first that is not the reference.
        sizes: images of each laboratory, for the choice of a quick profile.
    Raises:
        InputError: no such space or level, or a space without such a point; names it.
    """
    name, space = load_space(name_or_path)
    if level is None:
        level = next((level for level in space.levels if level != space.reference), space.reference)
    if level not in space.levels:
        raise InputError(f"--level {level}: must be one of {', '.join(space.levels)}")
    if not space.first_points(level, space.paper):
        raise InputError(f"--space {name}, level {level}: names no first point; give --study instead")
    if profile_name == "paper":
        return _first_point(name, space, level, space.paper, "paper")
    kinds = [_first_point(name, space, level, profile, "quick") for profile in space.quick]
    return next((kind for kind in kinds if _cost(kind, n_classes, sizes) <= QUICK_COST), kinds[-1])


def from_study(folder: Path) -> TrainedKind:
    """The winner of a study that has tested it, with the training that it had there.

    Raises:
        InputError: no such study, or a network whose code came with the study; names it.
    """
    results = read_results(folder)
    file = folder / "model" / CONFIG
    try:
        described: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        configuration = Configuration(
            model=from_json(described, file.parent, trusted=False),
            training=TypeAdapter(TrainingConfig).validate_python(described["training"]),
            preparation=Preparation(**described.get("preparation", {})),
        )
        level = str(described["level"])
    except FileNotFoundError:
        raise InputError(f"--study {folder}: it has not tested a winner yet (no {file})") from None
    except InputError as error:
        raise InputError(f"--study {error}; give the study's space with --space FILE.py instead") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: damaged: {type(error).__name__}: {error}") from error
    return TrainedKind(
        name=f"{level}, the winner of {folder.resolve().name}",
        configuration=configuration,
        most_epochs=results.description.plan.profile.transfer_epochs,
    )


def _first_point(name: str, space: Space, level: str, profile: Profile, profile_name: str) -> TrainedKind:
    params = space.first_points(level, profile)[0]
    configuration = space.configure(FixedSuggester(params), level, profile)
    return TrainedKind(
        name=f"{name} {level}, {profile_name}",
        configuration=configuration,
        most_epochs=profile.transfer_epochs,
        code=source_of(configuration.model),
    )


def _cost(kind: TrainedKind, n_classes: int, sizes: list[int]) -> float:
    """Cost of 25 trainings of every laboratory, see `search.training.cost`."""
    images = sum(n * kind.for_laboratory(n, max(sizes)).training.epochs for n in sizes)
    return PLANNED_TRAININGS * images * image_cost(kind.configuration, n_classes)
