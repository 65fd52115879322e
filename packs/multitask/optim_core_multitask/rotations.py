"""Rotations of what tasks share: the part of RotoGrad that belongs to the model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from optim_core.errors import InvalidOption


class Pass(NamedTuple):
    """A pass through the rotations, kept for the optimizer.

    Attributes:
        z: the shared representation, with its graph.
        copies: a detached copy of it for each task.
        rotated: the representation that each task got.
    """

    z: Tensor
    copies: list[Tensor]
    rotated: list[Tensor]


class Rotations(nn.Module):
    r"""One rotation for each task, between the backbone and the heads of a model.

    .. math:: r_i = R_i z, \qquad R_i = R_{i0} \exp(L_i - L_i^T), \quad L_i \text{ strictly lower triangular}

    ``rotations(z)`` takes the shared representation, of shape (batch, features, ...), and returns a list with one
    tensor for each task, the first ``size`` features rotated. In training mode, once an optimizer such as
    :class:`~optim_core_multitask.rotograd.RotoGrad` has taken the rotations over, gradients of the tasks end here:
    the optimizer sends them on.

    Args:
        tasks: how many.
        size: how many features are rotated.
        start: R_i0, of shape (tasks, size, size); None for the identity. (The authors' package begins at random.)
        weighted: with a weight for each task, which RotoGradNorm learns.

    Raises:
        InvalidOption: ``start`` has another shape, or is not orthogonal.

    Example:
        >>> rotations = Rotations(tasks=2, size=3)
        >>> [r.shape for r in rotations(torch.ones(4, 5))]
        [torch.Size([4, 5]), torch.Size([4, 5])]
    """

    start: Tensor

    def __init__(self, tasks: int, size: int, *, start: Tensor | None = None, weighted: bool = False) -> None:
        super().__init__()
        start = torch.eye(size).expand(tasks, size, size) if start is None else start
        if start.shape != (tasks, size, size):
            raise InvalidOption(f"Rotations: start of shape {tuple(start.shape)} should be ({tasks}, {size}, {size})")
        if not torch.allclose(start @ start.mT, torch.eye(size).to(start), atol=1e-4):
            raise InvalidOption("Rotations: start holds matrices that are not orthogonal")
        self.size = size
        self.register_buffer("start", start.clone())
        self.generators = nn.ParameterList([torch.zeros(size, size, dtype=start.dtype) for _ in range(tasks)])
        self.task_weights = nn.Parameter(torch.ones(tasks, dtype=start.dtype)) if weighted else None
        self._taken = False
        self._last: Pass | None = None

    def __len__(self) -> int:
        return len(self.generators)

    def matrices(self) -> Tensor:
        """R_i for each task, of shape (tasks, size, size)."""
        lower = torch.stack(tuple(self.generators)).tril(-1)
        return self.start @ torch.matrix_exp(lower - lower.mT)

    def forward(self, z: Tensor) -> list[Tensor]:
        """Return z rotated for each task."""
        matrices = self.matrices().detach()
        if not (self._taken and self.training and torch.is_grad_enabled()):
            return [rotated(z, r) for r in matrices]
        copies = [z.detach().requires_grad_() for _ in matrices]
        results = [rotated(x, r) for x, r in zip(copies, matrices, strict=True)]
        for x in results:
            x.retain_grad()
        self._last = Pass(z, copies, results)
        return results

    def take_over(self) -> None:
        """Let gradients end here from now on; an optimizer sends them on."""
        self._taken = True

    def last_pass(self) -> Pass | None:
        """Return the last pass in training mode, once; None after that."""
        last, self._last = self._last, None
        return last

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_last": None}


def rotated(z: Tensor, matrix: Tensor) -> Tensor:
    """Return z with its first features rotated, as many as the matrix has rows."""
    size = len(matrix)
    first = torch.einsum("ij,bj...->bi...", matrix.to(z.dtype), z[:, :size])
    return first if z.shape[1] == size else torch.cat([first, z[:, size:]], dim=1)
