"""Limit of the machine: one process per core on the project's training step, and nothing else of the project."""

import time

import torch

from benchmarks.patterns.processes import on_every_core
from benchmarks.patterns.workload import Workload
from search.common.metrics import score
from search.space import TrainingConfig
from search.training.batches import measure
from search.training.device import prepare_worker
from search.training.fit import evaluate, fit, on_device
from search.training.sgd import SGD
from wbcmodels.config import ModelConfig


def run(workload: Workload) -> None:
    """Run all trials, one process per core."""
    on_every_core(train, workload)


def train(workload: Workload, trial: int) -> None:
    """Run one trial."""
    images, point = workload.images(), workload.points[trial]
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    train, val = torch.from_numpy(images.train), torch.from_numpy(images.val)
    device = prepare_worker(1, gpu_share=0.0)
    config = ModelConfig(
        placement=workload.placement,
        dropout=point.dropout,
        input_px=workload.side,
        width=workload.width,
    )
    training = TrainingConfig(epochs=workload.epochs, lr=point.lr, batch_size=workload.batch_size)
    normalisation = measure(pixels, train)
    model = on_device(config.build(workload.n_classes, seed=trial), device)
    optimizer = SGD(model, training)
    for epoch in fit(
        model,
        optimizer,
        pixels,
        labels,
        train,
        training,
        normalisation,
        n_classes=workload.n_classes,
        seed=trial,
        device=device,
    ):
        ended = time.time()
        score(images.labels[images.val], evaluate(model, pixels, val, normalisation, device))
        workload.record(trial, epoch.epoch, ended - epoch.train_s, ended)
