"""Training loop as taught in tutorials: a Dataset with transforms for each image, a DataLoader, fp32."""

import time
from collections.abc import Iterator

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.patterns.frozen import FrozenNet
from benchmarks.patterns.workload import Images, Workload


class Cells(Dataset[tuple[Tensor, int]]):
    """Part of the images, held in memory and transformed one at a time."""

    def __init__(self, images: Images, indices: NDArray, transform: transforms.Compose) -> None:
        self.pixels, self.labels = images.pixels[indices], images.labels[indices]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pixels[index]), int(self.labels[index])


def train(workload: Workload, trial: int, *, num_workers: int, device: str = "cpu") -> Iterator[float]:
    """Run one trial; yields the validation accuracy after every epoch."""
    images, point = workload.images(), workload.points[trial]
    normalise = [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    train_set = Cells(images, images.train, transforms.Compose([*normalise, *flips]))
    val_set = Cells(images, images.val, transforms.Compose(normalise))
    train_loader = DataLoader(train_set, workload.batch_size, shuffle=True, num_workers=num_workers)
    val_loader = DataLoader(val_set, workload.batch_size, shuffle=False, num_workers=num_workers)

    model = FrozenNet(
        placement=workload.placement,
        side=workload.side,
        width=workload.width,
        n_classes=workload.n_classes,
        dropout=point.dropout,
    ).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=point.lr, momentum=0.9, weight_decay=1e-4)
    for epoch in range(1, workload.epochs + 1):
        started = time.time()
        model.train()
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        ended = time.time()
        model.eval()
        correct = 0
        with torch.no_grad():
            for inputs, labels in val_loader:
                correct += (model(inputs.to(device)).argmax(1) == labels.to(device)).sum().item()
        workload.record(trial, epoch, started, ended)
        yield correct / len(val_set)
