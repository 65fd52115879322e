"""What methods that search for a move work with: the loss at points nearby, vectors, a line search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from optim_core.methods import compute_dtype, full_tensor, real, total_dtype
from optim_core.optimizers import mean_over_ranks, put, taken
from optim_core_second_order.line_search import Trial, strong_wolfe

#: A vector over all parameters, in their parts.
Vector = list[Tensor]


class Loss:
    """The loss and its gradient at points near the parameters, which have gradients now.

    Args:
        optimizer: whose parameters.
        evaluate: computes gradients at the parameters as they are, and returns the loss.
    """

    def __init__(self, optimizer: Any, evaluate: Callable[[], Any]) -> None:
        self._optimizer, self._evaluate = optimizer, evaluate
        groups = [(p, g) for g in optimizer.param_groups for p in g["params"] if p.grad is not None and p.numel()]
        self.params = [p for p, _ in groups]
        self._signs = [-1 if group["maximize"] else 1 for _, group in groups]
        lrs = [float(group["lr"]) for _, group in groups]
        self.lr = max(lrs, default=0.0)
        #: lr of each parameter's group, as a share of the largest
        self.shares = [lr / self.lr if self.lr else 0.0 for lr in lrs]
        self.evaluations = 1

    def here(self) -> Vector:
        """The parameters."""
        return [real(p.detach()).clone(memory_format=torch.preserve_format) for p in self.params]

    def at(self, x: Sequence[Tensor]) -> tuple[float, Vector]:
        """Loss and gradient at a point."""
        self._place(x)
        self.evaluations += 1
        with torch.enable_grad():
            loss = self._evaluate()
        return self.measured(loss)

    def measured(self, loss: Any) -> tuple[float, Vector]:
        """A loss, and the gradients at hand, as one that is to fall."""
        mean = mean_over_ranks(loss.detach().to(total_dtype(loss.device)), self._optimizer)
        f = float(full_tensor(mean)) * (self._signs[0] if self._signs else 1)
        return f, [self._gradient(p, sign) for p, sign in zip(self.params, self._signs, strict=True)]

    @staticmethod
    def _gradient(p: Tensor, sign: int) -> Tensor:
        if p.grad is None:
            return torch.zeros_like(real(p.detach()), dtype=compute_dtype(real(p)))
        return real(p.grad.detach()).to(compute_dtype(real(p)), copy=True).mul_(sign)

    @contextmanager
    def there_and_back(self) -> Iterator[None]:
        """For the time of a ``with`` the parameters may be elsewhere; they and the gradients come back as they are."""
        here = self.here()
        gradients = taken(self._optimizer)
        try:
            yield
        finally:
            self._place(here)
            put(self._optimizer, gradients)

    @torch.no_grad()
    def _place(self, x: Sequence[Tensor]) -> None:
        for p, value in zip(self.params, x, strict=True):
            real(p).copy_(value)


def best_on(
    loss: Loss, x: Vector, d: Vector, start: Trial, t: float, options: Any, *, most: int, c2: float = 0.9
) -> Trial:
    """Where the line search ends on x + t d."""

    def trial(t: float) -> Trial:
        f, g = loss.at(moved(x, d, t))
        return Trial(t, f, dot(g, d), g)

    return strong_wolfe(trial, start, t, most=most, tolerance=options["tolerance_change"] / largest(d), c2=c2)


# vectors --------------------------------------------------------------------------------------------------------
def plus(a: Vector, b: Vector, factor: float) -> Vector:
    """a + factor b."""
    return [torch.add(x, y, alpha=factor) for x, y in zip(a, b, strict=True)]


def moved(x: Vector, d: Vector, t: float) -> Vector:
    """x + t d, as the parameters can hold it."""
    return [torch.add(a, b, alpha=t).to(a.dtype) for a, b in zip(x, d, strict=True)]


def total(x: Tensor) -> float:
    """The sum of all elements, on all ranks."""
    return float(full_tensor(x.sum(dtype=total_dtype(x.device))))


def dot(a: Vector, b: Vector) -> float:
    """The inner product."""
    sums = [full_tensor((x * y).sum(dtype=total_dtype(x.device))) for x, y in zip(a, b, strict=True)]
    return float(torch.stack([x.to(sums[0].device) for x in sums]).sum())


def largest(a: Vector) -> float:
    """The largest magnitude of an element."""
    tops = [full_tensor(x.abs().amax()) for x in a]
    return float(torch.stack([x.to(tops[0].device, total_dtype(tops[0].device)) for x in tops]).amax())
