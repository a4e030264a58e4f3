"""Estimates of levels at settings from both together, with an interaction that is shrunk by its noise."""

from search.analysis.measures import Floats


def shrunken(values: Floats, noise: float) -> Floats:
    """Estimate every level at every setting.

    A cell is mean + level + setting + a share of what is left. That share is the part of the remainder's variance
    that is not noise: 0 where the remainder is no larger than its noise, 1 without noise. The best cell of a table
    flatters; the best of these flatters less.

    Args:
        values: scores, shape (n_levels, n_settings).
        noise: mean variance of a cell's remainder that training and images explain.
    Returns:
        Shape (n_levels, n_settings).
    Source: the positive-part estimator of James and Stein, Proc. Fourth Berkeley Symposium (1961).
    """
    additive = values.mean(1, keepdims=True) + values.mean(0, keepdims=True) - values.mean()
    rest = values - additive
    size = float((rest**2).mean())
    share = max(0.0, 1 - noise / size) if size > 0 else 0.0
    return additive + share * rest
