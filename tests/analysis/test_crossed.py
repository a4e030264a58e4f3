import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.metrics import log_loss as reference_log_loss

from search.analysis.crossed import SCORES, SHARES, Pairs, difference, score
from search.data.splits import stratified_folds

CLASSES = np.arange(3)


def images(rng, sizes, shift):
    """Points around a centre for each class, and their labels."""
    labels = np.repeat(CLASSES, sizes)
    return rng.normal(size=(len(labels), 8)) + 2 * np.eye(3, 8)[labels] + shift, labels


def predictions(rng, source, target, *, seeds, noise, folds=5):
    """Pairs of nearest-centre classifiers, one for each fold of the source, and images that they did not see.

    Args:
        noise: standard deviation of what training adds to each centre by chance.
    """
    (points, labels), rows, number = source, [], 0
    for seed in range(seeds):
        for split in stratified_folds(labels, None, n_folds=folds, seed=int(rng.integers(2**31))):
            own = [points[split.train][labels[split.train] == k].mean(0) for k in CLASSES]
            centres = np.stack(own) + rng.normal(scale=noise, size=(3, 8))
            scored = split.val if source is target else np.arange(len(target[1]))
            logits = -((target[0][scored][:, None] - centres) ** 2).sum(-1) / 2
            weights = np.exp(logits - logits.max(1, keepdims=True))
            rows.append((np.full(len(scored), number), np.full(len(scored), seed), scored, weights))
            number += 1
    network, partition, image, weights = (np.concatenate(part) for part in zip(*rows, strict=True))
    return Pairs(
        network=network,
        partition=partition,
        image=image,
        unit=image,
        labels=target[1][image],
        probabilities=weights / weights.sum(1, keepdims=True),
        scored=CLASSES,
        n_folds=folds,
    )


def drawn(seed, *, seeds=2, noise=0.3, sizes=(40, 30, 12), other_sizes=(60, 40, 15)):
    """A laboratory's networks on its own and on another's images, and the other's networks on these."""
    rng = np.random.default_rng(seed)
    here, there = images(rng, sizes, 0.0), images(rng, other_sizes, 0.5)
    options = {"seeds": seeds, "noise": noise}
    return tuple(predictions(rng, *pair, **options) for pair in ((here, here), (here, there), (there, there)))


def replaced(pairs, **changes):
    return Pairs(**{name: changes.get(name, getattr(pairs, name)) for name in Pairs.__dataclass_fields__})


@pytest.mark.parametrize("pairs", drawn(0))
def test_values_are_those_of_the_metrics(pairs):
    predicted = pairs.probabilities.argmax(1)
    assert score(pairs, "accuracy").value == pytest.approx(accuracy_score(pairs.labels, predicted))
    assert score(pairs, "balanced_accuracy").value == pytest.approx(
        balanced_accuracy_score(pairs.labels, predicted)
    )
    assert score(pairs, "macro_f1").value == pytest.approx(f1_score(pairs.labels, predicted, average="macro"))
    assert score(pairs, "log_loss").value == pytest.approx(reference_log_loss(pairs.labels, pairs.probabilities))


@pytest.mark.parametrize("metric", SCORES)
def test_influences_are_what_a_pair_that_counts_more_changes(metric):
    _, pairs, _ = drawn(1)
    value, influence = SCORES[metric](pairs)
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    for index in (0, 70, 114):  # one of each class
        again = np.append(np.arange(len(pairs.labels)), index)
        fields = {name: getattr(pairs, name)[again] for name in ("network", "image", "labels", "probabilities")}
        changed, _ = SCORES[metric](replaced(pairs, **fields))
        assert changed - value == pytest.approx(influence[index], rel=0.02, abs=1e-6)


def test_classes_that_are_not_scored_do_not_count_in_averages_over_classes():
    _, pairs, _ = drawn(2)
    without = replaced(pairs, scored=np.array([0, 1]))
    recalls = [(pairs.probabilities.argmax(1) == k)[pairs.labels == k].mean() for k in (0, 1)]
    assert score(without, "balanced_accuracy").value == pytest.approx(np.mean(recalls))
    assert score(without, "accuracy") == score(pairs, "accuracy")


@pytest.mark.parametrize("metric", SCORES)
def test_numbers_of_networks_and_images_are_only_names(metric):
    own, pairs, others = drawn(3)
    renamed = replaced(pairs, network=1000 - 7 * pairs.network, partition=5 - pairs.partition)
    shuffled = np.random.default_rng(0).permutation(len(own.labels))
    arrays = {n: getattr(own, n)[shuffled] for n in Pairs.__dataclass_fields__ if n not in ("scored", "n_folds")}
    for a, b in (
        (score(pairs, metric), score(renamed, metric)),
        (difference(pairs, others, metric), difference(renamed, others, metric)),
        (score(own, metric), score(replaced(own, **arrays), metric)),
    ):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_images_of_one_group_are_one_piece_of_evidence():
    _, pairs, _ = drawn(4)
    copies, n_images = 4, len(np.unique(pairs.image))
    n_networks = len(np.unique(pairs.network))
    # All networks are the first, so that images alone make the interval.
    pairs = replaced(pairs, probabilities=np.tile(pairs.probabilities[:n_images], (n_networks, 1)))
    twins = {
        name: np.tile(getattr(pairs, name), (copies, 1) if name == "probabilities" else copies)
        for name in ("network", "partition", "unit", "labels", "probabilities")
    }
    image = np.concatenate([pairs.image + 10_000 * copy for copy in range(copies)])
    grouped = score(replaced(pairs, image=image, **twins), "accuracy")
    alone = score(pairs, "accuracy")
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.05)
    separate = score(replaced(pairs, image=image, **(twins | {"unit": image})), "accuracy")
    assert separate.high - separate.low < 0.6 * (grouped.high - grouped.low)


def test_a_perfect_score_is_not_known_better_than_to_one_image():
    _, pairs, _ = drawn(5)
    perfect = replaced(pairs, probabilities=np.eye(3)[pairs.labels])
    for metric in SHARES:
        found = score(perfect, metric)
        smallest = 1 / len(np.unique(pairs.image)) if metric == "accuracy" else 1 / (3 * 15)
        assert found.value == found.high == 1
        assert found.low == pytest.approx(1 - smallest)


# The whole experiment anew, with new images. docs/shift-matrix.md says what such experiments measured: the worst
# coverage was 86 of 100, where training images are few and nothing is by chance.
@pytest.mark.parametrize(
    ("seeds", "noise"), [(3, 0.0), (3, 0.5), (1, 0.3)], ids=["no chance", "much chance", "one partition"]
)
def test_intervals_cover_the_score_of_new_networks_and_new_images(seeds, noise):
    found = {}
    for number in range(100):
        own, other, others_own = drawn([9, number], seeds=seeds, noise=noise)
        for metric in ("accuracy", "balanced_accuracy", "log_loss"):
            found.setdefault(("own", metric), []).append(score(own, metric))
            found.setdefault(("other", metric), []).append(score(other, metric))
            found.setdefault(("difference", metric), []).append(difference(other, others_own, metric))
    for name, estimates in found.items():
        truth = np.mean([each.value for each in estimates])
        covering = np.mean([each.low <= truth <= each.high for each in estimates])
        assert covering >= 0.84, (name, covering)
        widths = [each.high - each.low for each in estimates]
        assert np.mean(widths) < 4 * 3.92 * np.std([each.value for each in estimates]), name
