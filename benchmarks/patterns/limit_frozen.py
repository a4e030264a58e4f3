"""Limit of the machine as first written, frozen: a plain loop on every core, and no search.

uint8 images in memory, bf16 on CPUs that multiply in it, channels-last, fused SGD, one thread per process.
"""

import time

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.patterns.frozen import FrozenNet
from benchmarks.patterns.processes import on_every_core
from benchmarks.patterns.workload import Workload

EVALUATION_BATCH = 256


def run(workload: Workload) -> None:
    """Run all trials, one process per core."""
    on_every_core(train, workload)


def train(workload: Workload, trial: int) -> None:
    """Run one trial."""
    images, point = workload.images(), workload.points[trial]
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    train, val = torch.from_numpy(images.train), torch.from_numpy(images.val)
    sample = pixels[train].float()
    mean, std = sample.mean((0, 1, 2)), sample.std((0, 1, 2)).clamp(min=1.0)
    cpu = torch.cpu.get_capabilities()
    bf16 = bool(cpu.get("amx_bf16") or cpu.get("avx512_bf16"))

    torch.manual_seed(trial)
    model = FrozenNet(
        placement=workload.placement,
        side=workload.side,
        width=workload.width,
        n_classes=workload.n_classes,
        dropout=point.dropout,
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=point.lr, momentum=0.9, weight_decay=1e-4, fused=True)

    def forward(batch: Tensor) -> Tensor:
        normalised = ((batch - mean) / std).permute(0, 3, 1, 2)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return model(normalised).float()

    for epoch in range(1, workload.epochs + 1):
        started = time.time()
        model.train()
        for batch in train[torch.randperm(len(train))].split(workload.batch_size):
            loss = F.cross_entropy(forward(_turned(pixels[batch])), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        ended = time.time()
        model.eval()
        with torch.inference_mode():
            predicted = torch.cat([forward(pixels[part]).argmax(1) for part in val.split(EVALUATION_BATCH)])
            (predicted == labels[val]).float().mean().item()
        workload.record(trial, epoch, started, ended)


def _turned(images_NHWC: Tensor) -> Tensor:
    """Images, each in a random one of the eight orientations of a square."""
    orientation = torch.randint(8, (len(images_NHWC),))
    turned = torch.empty_like(images_NHWC)
    for k in range(8):
        chosen = (orientation == k).nonzero().flatten()
        part = images_NHWC[chosen]
        turned[chosen] = torch.rot90(part.flip(2) if k >= 4 else part, k % 4, dims=(1, 2))
    return turned
