import numpy as np
import pytest

from search.analysis.families import Kind, all_pairs, interactions, main_family
from search.space.load import load_space

SPACES = {name: load_space(name)[1] for name in ("residual_placement", "ablation")}


def families(space):
    effects = {effect.name: effect.levels for effect in space.effects}
    return main_family(space.levels, space.reference, effects, ["control"]), interactions(space.levels, effects)


@pytest.mark.parametrize("name", SPACES)
def test_contrasts_compare_levels_and_nothing_else(name):
    main, crossed = families(SPACES[name])
    for contrast in main + crossed:
        assert contrast.weights.sum() == pytest.approx(0)
        assert contrast.weights.any()
    assert [c.kind for c in main] == [Kind.EFFECT] * 3 + [Kind.PAIR] * 8  # the control included
    assert [c.level for c in main if c.kind == Kind.PAIR] == [*SPACES[name].levels[1:], "control"]


@pytest.mark.parametrize("name", SPACES)
def test_effects_and_interactions_of_a_full_factorial_are_orthogonal(name):
    main, crossed = families(SPACES[name])
    rows = [c.weights[:8] for c in main if c.kind == Kind.EFFECT] + [c.weights for c in crossed]
    assert len(rows) == 7
    products = np.array(rows) @ np.array(rows).T
    assert products == pytest.approx(np.diag(np.diag(products)))


def test_effects_and_interactions_are_what_they_say():
    levels = ("none", "1", "2", "1+2")
    values = np.array([0.1, 0.3, 0.2, 0.9])
    effects = {"one": ("1", "1+2"), "two": ("2", "1+2")}
    one, two, *pairs = (contrast.weights @ values for contrast in main_family(levels, "none", effects))
    assert (one, two) == pytest.approx((0.45, 0.35))
    assert pairs == pytest.approx([0.2, 0.1, 0.8])
    (crossed,) = interactions(levels, effects)
    assert crossed.weights @ values == pytest.approx((0.9 - 0.2) - (0.3 - 0.1))


def test_effects_of_levels_that_are_missing_are_left_out():
    effects = {"one": ("1", "1+2"), "two": ("2", "1+2")}
    names = [contrast.name for contrast in main_family(("none", "1", "2"), "none", effects)]
    assert names == ["1 − none", "2 − none"]
    assert interactions(("none", "1", "2"), effects) == []
    assert main_family(("1", "2"), "none", {}) == []


def test_all_pairs_of_levels():
    pairs = all_pairs(("a", "b", "c")).reshape(3, 3, 3)
    assert pairs[0, 2].tolist() == [1, 0, -1]
    assert pairs == pytest.approx(-pairs.transpose(1, 0, 2))
