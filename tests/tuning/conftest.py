import pytest
from simulated_search import SimulatedSearch


@pytest.fixture
def make_search(tmp_path):
    """Makes simulated searches in folders of the given names."""
    made = []

    def make(name, **options):
        made.append(SimulatedSearch(tmp_path / name, **options))
        return made[-1]

    yield make
    for search in made:
        search.kill()
