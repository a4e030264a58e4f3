"""The project's spaces, and requests for plans."""

from dataclasses import replace
from pathlib import Path

from search.space.load import load_space
from search.study.plan import Request

NAMES = sorted(p.stem for p in (Path(__file__).parents[2] / "spaces").glob("*.py") if p.stem != "__init__")
SPACES = {name: load_space(name)[1] for name in NAMES}
PLACEMENT = SPACES["residual_placement"]


def request(**changes):
    """A request of a quick study of drawn cells without a target."""
    return replace(
        Request(
            profile_name="quick",
            synthetic=True,
            n_images=1000,
            n_classes=5,
            n_target=None,
            n_trials=None,
            search_folds=None,
            finalists=None,
            compare_settings=2,
            folds=10,
            repeats=1,
            most_runs=None,
            control=False,
        ),
        **changes,
    )
