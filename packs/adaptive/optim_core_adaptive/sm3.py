"""SM3."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, sqrt, square, stacked


def _accumulators(shape: tuple[int, ...], group: Any) -> list[tuple[int, ...]]:
    """A vector along each axis, with axes of length 1 in the place of the others; one number for a 0-d parameter."""
    del group
    return [tuple(d if i == axis else 1 for i, d in enumerate(shape)) for axis in range(len(shape))] or [()]


class SM3(RuleOptimizer):
    """AdaGrad whose sums of squares are kept as one vector for each axis: hardly any memory.

    A_i has a number for each index of axis i; all start at 0::

        v = min over i of A_i, for each element
        v = v + g^2                           beta > 0:  v = beta v + (1 - beta) g^2
        A_i = max of v over all other axes, never below the A_i before
        u = g / sqrt(v + eps)
        p = p - lr u                          momentum:  m = momentum m + (1 - momentum) u,  p = p - lr m

    So v is never below the sum that AdaGrad keeps, whose first step, the sign of g, it shares; of vectors and single
    numbers AdaGrad itself is left. Nothing is forgotten, so the authors advise a warm-up that grows with the square of
    the step, with momentum=0.9. beta is an addition, and no true average: as the A_i never shrink, old gradients stay.
    With sums they could not shrink anyway, so a sparse gradient makes the step that its dense form would make.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
        >>> optimizer = SM3([w], lr=0.5)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> w.tolist(), [optimizer.state[w][f"accumulator_{k}"].flatten().tolist() for k in range(2)]
        ([[0.5, -1.5], [2.5, -3.5]], [[16.0, 64.0], [36.0, 64.0]])

    Source: Anil, Gupta, Koren and Singer, Memory-Efficient Adaptive Optimization, 2019, SM3-II,
    https://arxiv.org/abs/1901.11150; momentum as in the authors' code, which has no decay of weights either.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.0, "decay of an average of u; 0 for none", ge=0, lt=1)
    beta: float = hyper(0.0, "decay of v, 0 for sums", ge=0, lt=1)
    eps: float = hyper(1e-30, "added to v in the root", gt=0)

    accumulator = state("A_1, A_2, ...", shape=_accumulators)
    momentum_buffer = state("average of u", when="momentum")

    sparse = True

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        accumulator: Value,
        momentum_buffer: Value | None,
        *,
        lr: Value,
        momentum: Value,
        beta: Value,
        eps: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        v = _least(accumulator)
        v = beta * v + (1 - beta) * square(g) if beta else v + square(g)
        accumulator = _renewed(accumulator, v)
        u = g / sqrt(v + eps)
        if momentum_buffer is not None:
            u = momentum_buffer = lerp(u, momentum_buffer, momentum)
        return p - lr * u, accumulator, momentum_buffer


@stacked("element")
def _least(A: list[Tensor]) -> Tensor:
    """The least of the A_i for each element."""
    return reduce(torch.minimum, A)


@stacked("own")
def _renewed(A: list[Tensor], v: Tensor) -> list[Tensor]:
    """The largest v along each axis, but never less than before: with sums it is not, unless v lacks some rows."""
    return [torch.maximum(old, _largest(v, axis)) for axis, old in enumerate(A, start=1)]


def _largest(v: Tensor, axis: int) -> Tensor:
    """The maximum over all axes but this one and that of the stack."""
    others = [i for i in range(1, v.ndim) if i != axis]
    return v.amax(others, keepdim=True) if others else v
