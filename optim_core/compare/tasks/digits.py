"""Handwritten digits: scikit-learn's bundled 1,797 images of 8 x 8 pixels, and a small convolutional network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optim_core.compare.errors import TaskError
from optim_core.compare.task import Task

Batch = tuple[Tensor, Tensor]

BATCH_SIZE = 64
WIDTH = 8


def digits(device: str = "cpu") -> Task:
    """Tell the ten digits apart: 1,201 images to train on, 596 to judge by, split once, each digit in proportion.

    The second of its two losses, for methods that balance several, is how well odd digits are told from even ones.
    """
    images, labels = _data(device)
    train, held_out = _split(labels)

    def batches(seed: int, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(10_000 * seed + epoch))
        for index in torch.split(train[order.to(train.device)], BATCH_SIZE):
            yield images[index], labels[index]

    def evaluate(model: nn.Module) -> float:
        hits: Tensor = model(images[held_out]).argmax(1) == labels[held_out]
        return hits.float().mean().item()

    return Task(
        name="digits",
        about="1,797 handwritten digits of 8 x 8 pixels (scikit-learn), a convolutional network of three layers.",
        model=network,
        batches=batches,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        losses=_losses,
        evaluate=evaluate,
        metric="validation accuracy",
        goal="max",
        percent=True,
        target=0.97,
        epochs=15,
    )


def network() -> nn.Module:
    """Three convolutions with group normalisation: [batch, 1, 8, 8] -> [batch, 10], 4,258 parameters.

    Group, not batch normalisation: methods that evaluate the loss twice a step (SAM) see the same function both times.
    """

    def layer(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(4, outputs), nn.ReLU()]

    return nn.Sequential(
        *layer(1, WIDTH),
        *layer(WIDTH, 2 * WIDTH),
        nn.MaxPool2d(2),
        *layer(2 * WIDTH, 2 * WIDTH),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * WIDTH, 10),
    )


def _losses(model: nn.Module, batch: Batch) -> list[Tensor]:
    scores, labels = model(batch[0]), batch[1]
    parity = torch.stack([scores[:, 0::2].logsumexp(1), scores[:, 1::2].logsumexp(1)], dim=1)
    return [F.cross_entropy(scores, labels), F.cross_entropy(parity, labels % 2)]


def _data(device: str) -> Batch:
    try:
        from sklearn.datasets import load_digits
    except ImportError as missing:
        raise TaskError("the task 'digits' needs scikit-learn: pip install 'optim-core[compare]'") from missing
    bundle: Any = load_digits()
    images = torch.tensor(bundle.images, dtype=torch.float32)[:, None] / 8 - 1  # 0..16 -> -1..1
    return images.to(device), torch.tensor(bundle.target, dtype=torch.int64).to(device)


def _split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every third image of each digit is held out; the order of the file has no meaning beyond who wrote them."""
    nth = torch.zeros_like(labels)
    for digit in range(10):
        images = labels == digit
        nth[images] = torch.arange(int(images.sum()), device=labels.device)
    held_out = nth % 3 == 2
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()
