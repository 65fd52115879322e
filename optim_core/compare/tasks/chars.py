"""Characters: the English text of Python's own documentation, and a small transformer that guesses the next one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optim_core.compare.errors import TaskError
from optim_core.compare.task import Task

CONTEXT = 32  # characters
BATCH_SIZE = 16  # windows
STEPS_PER_EPOCH = 50
WIDTH = 64
HEADS = 4
LAYERS = 2


def chars(device: str = "cpu") -> Task:
    """Guess the next of the 460,000 characters of `pydoc_data.topics`; the last tenth of each topic is held out.

    An epoch is 50 batches of 16 windows of 32 characters, drawn at random. The score is the mean negative log2
    likelihood of a held-out character, in bits: lower is better. The text is that of the running Python, so
    scores of two Python versions differ a little.
    """
    train, held_out, size = _data(device)
    windows = held_out[: len(held_out) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
    windows = windows[:: max(1, len(windows) // 256)]

    def batches(seed: int, epoch: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(10_000 * seed + epoch)
        for _ in range(STEPS_PER_EPOCH):
            start = torch.randint(len(train) - CONTEXT, (BATCH_SIZE, 1), generator=generator)
            yield train[(start + torch.arange(CONTEXT + 1)).to(train.device)]

    return Task(
        name="chars",
        about="The text of Python's documentation (pydoc_data.topics), a transformer of two layers on characters.",
        model=lambda: Transformer(size),
        batches=batches,
        loss=_loss,
        evaluate=lambda model: _loss(model, windows).item() / math.log(2),
        metric="validation bits per character",
        goal="min",
        target=3.3,
        epochs=12,
    )


class Transformer(nn.Module):
    """Decoder-only, pre-norm: [batch, time] of character numbers -> [batch, time, size] of scores."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, size, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.normal_(self.position.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        """Score every character as the next one, at every place."""
        x = self.embedding(text) + self.position.weight[: text.shape[1]]
        scores: Tensor = self.head(self.norm(self.blocks(x)))
        return scores


class Block(nn.Module):
    """Attention, then a feed-forward layer, each around a residual."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        self.register_buffer("mask", torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> the same."""
        x = x + self.attend(self.norm1(x))
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y

    def attend(self, x: Tensor) -> Tensor:
        """Written out, because torch's fused attention has no second derivative, which AdaHessian and Sophia-H need."""
        batch, time, _ = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        weights = q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        weights = weights.masked_fill(self.mask[:time, :time], -math.inf).softmax(-1)
        attended: Tensor = self.out((weights @ v).transpose(1, 2).reshape(batch, time, WIDTH))
        return attended


def _loss(model: nn.Module, windows: Tensor) -> Tensor:
    return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def _data(device: str) -> tuple[Tensor, Tensor, int]:
    try:
        from pydoc_data.topics import topics
    except ImportError as missing:
        raise TaskError(
            "the task 'chars' needs pydoc_data, a part of Python's standard library that this Python was packaged "
            "without. Take --task digits, or another build of Python."
        ) from missing
    texts = [topics[name] for name in sorted(topics)]
    train = "\n".join(text[: len(text) * 9 // 10] for text in texts)
    held_out = "\n".join(text[len(text) * 9 // 10 :] for text in texts)
    numbers = {char: number for number, char in enumerate(sorted(set(filter(str.isascii, train))), start=1)}

    def encode(text: str) -> Tensor:
        return torch.tensor([numbers.get(char, 0) for char in text], device=device)  # 0: everything else

    return encode(train), encode(held_out), len(numbers) + 1
