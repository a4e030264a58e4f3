import pytest

from search.tuning.packing import SHARES, best_share


@pytest.mark.parametrize(
    ("rates", "least", "share"),
    [
        ((100, 190, 300, 400), 0.0, 0.125),
        ((100, 190, 300, 310), 0.0, 0.25),  # eight gain too little
        ((100, 101, 300, 400), 0.0, 1.0),  # a step that gains nothing is the last
        ((100, 190, 300, 400), 0.2, 0.25),  # the memory of an eighth does not hold a trial
        ((100, 190, 300, 400), 0.25, 0.25),
        ((100, 190, 300, 400), 0.9, 1.0),
        ((100, 50, 20, 10), 0.0, 1.0),
    ],
)
def test_the_share_is_halved_as_long_as_it_fits_and_is_worth_it(rates, least, share):
    assert best_share(dict(zip(SHARES, rates, strict=True)).__getitem__, least) == share


def test_a_share_too_small_is_not_even_tried():
    tried = []

    def rate(share):
        tried.append(share)
        return 1 / share

    best_share(rate, 0.3)
    assert tried == [1.0, 0.5]
