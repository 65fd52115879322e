"""A small model, its batches, and the plain loop that training through a host is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

import optim_core
from optim_core.errors import OptimCoreError
from support.kinds import Kind

Batch: TypeAlias = Tensor
#: What trains a model through a host, with the batches and how many of them make a step.
Run: TypeAlias = Callable[[Kind, nn.Module, Sequence[Batch], int], object]


def model() -> nn.Module:
    """The same one at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def batches(kind: Kind, steps: int, parts: int = 1) -> list[Batch]:
    """The batches of some steps.

    The parts of a step are alike for a method that evaluates more than once or goes by the loss: where a host
    accumulates, the last one stands for all, as its documentation says.
    """
    numbers = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    alike = kind.needs("closure") or kind.needs("loss")
    return [(numbers + 0.1 * (k // parts if alike else k)).sin() for k in range(steps * parts)]


def loss_of(kind: Kind, net: nn.Module, batch: Batch) -> Any:
    """One loss, or two for what merges their gradients."""
    y = net(batch).square()
    return [y[:, 0].mean(), y.sum(1).mean()] if kind.needs("multi_loss") else y.mean()


def one_loss_of(kind: Kind, net: nn.Module, batch: Batch) -> Tensor:
    """One loss, where a host takes no more."""
    loss = loss_of(kind, net, batch)
    return sum(loss) if isinstance(loss, list) else loss  # type: ignore[return-value]


def by_hand(kind: Kind, net: nn.Module, data: Sequence[Batch], parts: int = 1) -> Any:
    """The plain loop; returns the optimizer."""
    optimizer = kind.make(net.named_parameters())
    steps(kind, optimizer, net, data, parts)
    return optimizer


def steps(kind: Kind, optimizer: Any, net: nn.Module, data: Sequence[Batch], parts: int = 1) -> None:
    """Steps of the plain loop."""
    for start in range(0, len(data), parts):
        own = data[start : start + parts]

        def loss_in_parts(own: Sequence[Batch] = own) -> Iterator[Tensor]:
            return (loss_of(kind, net, batch) / parts for batch in own)

        whole = lambda own=own: loss_of(kind, net, own[0])  # noqa: E731
        optim_core.minimize(optimizer, loss_in_parts if parts > 1 else whole)


def outcome(kind: Kind, run: Run, *, parts: int = 1, tolerance: float = 0.0, wanted: Run = by_hand) -> str:
    """What comes of a host: "same" as the plain loop, or an error of this library."""
    data = batches(kind, 4, parts)
    plain, net = model(), model()
    torch.manual_seed(0)  # draws follow from it
    try:
        run(kind, net, data, parts)
    except OptimCoreError as error:
        return f"{type(error).__name__}: {error}"
    torch.manual_seed(0)
    wanted(kind, plain, data, parts)
    off = max(float((a - b).abs().max()) for a, b in zip(net.parameters(), plain.parameters(), strict=True))
    assert off <= tolerance, f"{kind.spec.name} is off by {off}"
    assert not all(torch.equal(a, b) for a, b in zip(net.parameters(), model().parameters(), strict=True))
    return "same"


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models are the same to the last bit."""
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def copied(net: nn.Module) -> nn.Module:
    """A copy."""
    return copy.deepcopy(net)
