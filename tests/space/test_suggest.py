import pytest

from search.space import FixedSuggester, RandomSuggester


def test_a_random_suggester_keeps_to_the_range():
    for seed in range(20):
        suggester = RandomSuggester(seed)
        assert 0.1 <= suggester.suggest_float("x", 0.1, 0.2, log=True) <= 0.2
        assert suggester.suggest_int("n", 3, 9, step=3) in (3, 6, 9)
        assert suggester.suggest_int("n", 4, 4) == 4
        assert suggester.suggest_categorical("c", ("a", "b")) in ("a", "b")


def test_a_fixed_suggester_names_what_is_missing():
    with pytest.raises(KeyError, match=r"^'lr'$"):
        FixedSuggester({"norm": "batch"}).suggest_float("lr", 0, 1)
