import itertools

from search.common.seeds import derive_seed


def test_the_value_is_the_same_in_every_process_and_version():
    # Worked out once by hand: sha256 of "0\x1fsearch\x1f1", first four bytes. A change would change every study.
    assert derive_seed(0, "search", 1) == 2873910237


def test_seeds_fit_every_generator():
    seeds = [derive_seed(study, "search", fold) for study in range(50) for fold in range(20)]
    assert all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) > 2**31  # all bits are used
    assert min(seeds) < 2**28


def test_streams_do_not_coincide():
    purposes = ("search", "compare", "confirm", "test", "transfer", "weights")
    parts = list(itertools.product(range(20), purposes, range(20)))
    # 2400 draws of 32 bits: a coincidence by chance has probability below 0.1 %.
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_neighbouring_studies_share_no_stream():
    # As seed + fold would: fold 1 of study 0 is fold 0 of study 1.
    assert derive_seed(0, "search", 1) != derive_seed(1, "search", 0)


def test_parts_do_not_run_into_each_other():
    assert len({derive_seed(*parts) for parts in [(1, 23), (12, 3), (123,), (1, 2, 3), (123, "")]}) == 5
