import copy

import pytest
import torch
from torch.nn import functional as F

from search.space import TrainingConfig
from search.training.adamw import AdamW
from search.training.device import Device
from search.training.sgd import SGD
from search.training.step import STEPS_BEFORE_RECORDING, DivergedError, RecordedStep, TrainingStep, training_step
from wbcmodels.config import ModelConfig

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_CLASSES = 12, 3
CONFIG = TrainingConfig(epochs=1, lr=0.1)
SIZES = [6, 6, 5, 6, 6, 5, 5, 6, 5, 6]  # of the batches


class Graphs:
    """CUDA graphs without a GPU: a replay does the recorded work again, on the same tensors."""

    def __init__(self):
        self.n_recorded = 0

    def run(self, work, *inputs):
        work(*inputs)

    def record(self, work, *inputs):
        self.n_recorded += 1
        copies = [torch.zeros_like(tensor) for tensor in inputs]

        def replay(*inputs):
            for tensor, given in zip(copies, inputs, strict=True):
                tensor.copy_(given)
            work(*copies)

        return replay


def network():
    return ModelConfig(placement="1", width=0.125, input_px=SIDE).build(N_CLASSES, seed=0).train()


def plain_step(model, kind=SGD):
    return TrainingStep(model, kind(model, CONFIG), F.cross_entropy, CPU)


def recorded_step(model, kind=SGD, graphs=None):
    return RecordedStep(model, kind(model, CONFIG), F.cross_entropy, CPU, graphs or Graphs())


def batch(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, SIDE, SIDE, generator=generator), torch.arange(n) % N_CLASSES


def run(step, sizes=SIZES, lr=2**-7):  # the same in float32
    torch.manual_seed(0)  # of dropout
    step.begin(1)
    for number, size in enumerate(sizes):
        step(*batch(size, number), lr)
    return step.finish()


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_a_recorded_step_does_what_a_plain_one_does(kind):
    plain, other, graphs = network(), network(), Graphs()
    few = SIZES[:STEPS_BEFORE_RECORDING]
    assert run(recorded_step(other, kind, graphs), few) == run(plain_step(plain, kind), few)
    assert graphs.n_recorded == 0
    plain, other = network(), network()
    assert run(recorded_step(other, kind, graphs)) == run(plain_step(plain, kind))
    assert graphs.n_recorded == len(set(SIZES))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_sums_start_again_with_every_epoch():
    step = plain_step(network())
    first = run(step, lr=0.0)
    # With a rate of zero only the statistics of the norms change, and training does not read them.
    assert run(step, lr=0.0) == pytest.approx(first)


@pytest.mark.parametrize("kind", [SGD, AdamW])
@pytest.mark.parametrize("make_step", [plain_step, recorded_step])
def test_a_loss_that_is_not_finite_updates_nothing_and_is_an_error(make_step, kind):
    model = network()
    step = make_step(model, kind)
    run(step, SIZES[: STEPS_BEFORE_RECORDING + 2])
    before = copy.deepcopy(dict(model.named_parameters()))
    images, labels = batch(6, 0)
    step.begin(7)

    def resume():
        step(images * float("nan"), labels, 0.01)
        step.finish()

    with pytest.raises(DivergedError, match="nan in epoch 7"):
        resume()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_a_cpu_takes_the_plain_step():
    model = network()
    assert type(training_step(model, SGD(model, CONFIG), F.cross_entropy, CPU, CONFIG)) is TrainingStep
