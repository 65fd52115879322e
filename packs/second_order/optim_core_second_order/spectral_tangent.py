"""Where a matrix's spectral norm stays: its leading singular vectors, and the multiplier that a step needs for that."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: First step of the search for a change of sign, and how often it is doubled at most.
_FIRST, _DOUBLINGS = 1e-3, 10


def leading_vectors(W: Tensor, steps: int, eps: float) -> tuple[Tensor, Tensor]:
    """Singular vectors of the largest singular values, (B, rows, 1) and (B, columns, 1), by power iteration.

    Args:
        W: a stack of matrices.
        steps: how many.
        eps: least length before a vector is brought to length 1.
    """
    v = _unit(torch.ones_like(W[:, :1]).mT, eps)
    u = W @ v
    for _ in range(steps):
        u = _unit(W @ v, eps)
        v = _unit(W.mT @ u, eps)
    return u, v


def root_of_rising(f: Callable[[Tensor], Tensor], start: Tensor, tol: float, bisections: int) -> Tensor:
    """For each matrix of a stack a number x with f(x) near 0, f rising.

    Args:
        f: takes and returns numbers (B, 1, 1).
        start: where the search begins; what is returned where it is near enough, or no change of sign is found.
        tol: size of f(x) that counts as 0.
        bisections: how many at most; after them the best x that was seen is returned.
    """
    a, at_a = start, f(start)
    searching, found = ~(at_a.abs() < tol), torch.zeros_like(start, dtype=torch.bool)
    left = right = best = start
    least, step = torch.full_like(start, torch.inf), torch.where(at_a < 0, 1.0, -1.0).to(start) * _FIRST
    for _ in range(_DOUBLINGS):
        if _none(searching):
            break
        b, at_b = a + step, f(a + step)
        here = searching & ((at_a <= 0) != (at_b <= 0))
        left = torch.where(here, torch.where(at_a <= 0, a, b), left)
        right = torch.where(here, torch.where(at_a <= 0, b, a), right)
        best = torch.where(here, torch.where(at_a.abs() <= at_b.abs(), a, b), best)
        least = torch.where(here, torch.minimum(at_a.abs(), at_b.abs()), least)
        searching, found = searching & ~here, found | here
        a, at_a, step = b, at_b, 2 * step
    for _ in range(bisections):
        if _none(found):
            break
        middle = (left + right) / 2
        at_middle = f(middle)
        hit, better = found & (at_middle.abs() <= tol), found & (at_middle.abs() < least)
        best, least = torch.where(hit | better, middle, best), torch.where(better, at_middle.abs(), least)
        left, right = torch.where(at_middle < 0, middle, left), torch.where(at_middle < 0, right, middle)
        found = found & ~hit
    return best


def _none(going_on: Tensor) -> bool:
    """Whether nothing goes on; a compiled graph, which cannot ask, goes through all of it."""
    return not (torch.compiler.is_compiling() or bool(going_on.any()))


def _unit(x: Tensor, eps: float) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / length.clamp(min=eps)
