import copy
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from search.space import TrainingConfig
from search.training.device import Device
from search.training.sgd import SGD
from search.training.step import STEPS_BEFORE_RECORDING, DivergedError, RecordedStep, TrainingStep, training_step
from wbcmodels.config import ModelConfig
from wbcmodels.family import build

CPU = Device(torch.device("cpu"), bf16=False)
SIDE, N_CLASSES = 12, 3
CONFIG = TrainingConfig(epochs=1, lr=0.1)
SIZES = [6, 6, 5, 6, 6, 5, 5, 6, 5, 6]  # of the batches


def network():
    return build(ModelConfig(placement="1", width=0.125, input_px=SIDE, n_classes=N_CLASSES), seed=0).train()


def batch(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, SIDE, SIDE, generator=generator), torch.arange(n) % N_CLASSES


def run(step, sizes=SIZES, lr=0.01):
    torch.manual_seed(0)  # of dropout
    step.begin(1)
    for number, size in enumerate(sizes):
        step(*batch(size, number), lr)
    return step.finish()


@pytest.fixture
def recorded(monkeypatch):
    """CUDA graphs without a GPU: replay calls again, on the same tensors, what was called while recording."""
    recording = []

    class Graph:
        def __init__(self):
            self.calls = []

        def replay(self):
            for call in self.calls:
                whole(*call)

    @contextmanager
    def graph(graph, stream):
        recording.append(graph)
        yield
        recording.clear()

    def record(*call):
        (recording[0].calls.append if recording else lambda call: whole(*call))(call)

    whole = RecordedStep._whole
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(RecordedStep, "_whole", record)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)


def test_a_recorded_step_does_what_a_plain_one_does(recorded):
    plain, other = network(), network()
    step = RecordedStep(other, SGD(other, CONFIG), None, CPU)
    expected = run(TrainingStep(plain, SGD(plain, CONFIG), None, CPU))
    assert run(step) == expected
    assert set(step._recorded) == set(SIZES)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_the_steps_before_recording_hold_no_graph(recorded):
    model = network()
    step = RecordedStep(model, SGD(model, CONFIG), None, CPU)
    run(step, SIZES[:STEPS_BEFORE_RECORDING])
    assert not step._recorded


def test_sums_begin_anew_with_an_epoch():
    model = network()
    step = TrainingStep(model, SGD(model, CONFIG), None, CPU)
    first = run(step, lr=0.0)
    # Without a rate nothing is learnt but the statistics of the norms, which training does not read.
    assert run(step, lr=0.0) == pytest.approx(first)


@pytest.mark.parametrize("kind", [TrainingStep, RecordedStep])
def test_a_loss_that_is_not_finite_updates_nothing_and_is_told(recorded, kind):
    model = network()
    step = kind(model, SGD(model, CONFIG), None, CPU)
    run(step, SIZES[: STEPS_BEFORE_RECORDING + 2])
    before = copy.deepcopy(dict(model.named_parameters()))
    images, labels = batch(6, 0)
    step.begin(7)

    def go_on():
        step(images * float("nan"), labels, 0.01)
        step.finish()

    with pytest.raises(DivergedError, match="nan in epoch 7"):
        go_on()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_a_cpu_takes_the_plain_step():
    model = network()
    assert type(training_step(model, SGD(model, CONFIG), None, CPU)) is TrainingStep
