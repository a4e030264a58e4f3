import itertools

from search.common.seeds import derive_seed


def test_the_value_is_the_same_in_every_process_and_version():
    # The first four bytes of the SHA-256 of "0\x1fsearch\x1f1". A change would change every study.
    assert derive_seed(0, "search", 1) == 2873910237


def test_seeds_fit_every_generator():
    seeds = [derive_seed(study, "search", fold) for study in range(50) for fold in range(20)]
    assert all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) > 2**31  # all bits are used
    assert min(seeds) < 2**28


def test_streams_do_not_coincide():
    purposes = ("search", "compare", "confirm", "test", "transfer", "weights")
    parts = list(itertools.product(range(20), purposes, range(20)))
    # 2400 draws of 32 bits: the probability of a coincidence by chance is below 0.1 %.
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_parts_do_not_merge():
    assert len({derive_seed(*parts) for parts in [(1, 23), (12, 3), (123,), (1, 2, 3), (123, "")]}) == 5
