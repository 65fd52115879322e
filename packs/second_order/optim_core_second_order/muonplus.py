"""MuonPlus."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, summed


class MuonPlus(Orthogonalised):
    """Muon whose steps are normalised once more, column by column or row by row.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, with the same
    lr unless ``adam_lr`` says otherwise::

        M = momentum M + g
        u = g + momentum M                             with nesterov; otherwise u = M
        X = orthogonal(u)                              Muon's Newton-Schulz iteration
        X = X / sqrt(sum(X^2) + eps)                   over rows, columns or both in turn, as norm_mode says
        p = p (1 - lr weight_decay) - lr r X

    r is sqrt(rows/columns), or 1 with ``adjust_lr_fn=None``. ``norm_mode="col_row"`` does columns first; the authors
    found it best. The size of a step depends on the mode: that of columns alone is sqrt(columns) for a wide matrix.

    The authors' ``norm_eps`` is never used in their code; eps is 1e-7 everywhere there. Cutting Q, K, V into heads is
    ``blocks``; their factor for the trace of g^T X is left out.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = MuonPlus([w], lr=0.1, norm_mode="col_row")
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Muon+, 2026, https://arxiv.org/abs/2602.21545; the code named in the spec, from a description of it.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the sum of gradients", ge=0, lt=1)
    nesterov: bool = hyper(True, "look one gradient ahead")
    weight_decay: float = decoupled(0.1)
    norm_mode: str = hyper("none", "what is normalised", choices=("none", "col", "row", "col_row", "row_col"))
    adjust_lr_fn: str | None = hyper("spectral", "what r is", choices=("spectral", None))
    eps: float = hyper(1e-7, "added to the norm, and to sums under a root", gt=0)

    momentum_buffer = state("decayed sum of gradients")

    adam_share: ClassVar = 1.0

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        norm_mode: str,
        adjust_lr_fn: str | None,
        eps: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = summed(g, momentum_buffer, momentum, nesterov=nesterov)
        X = orthogonal(u, eps)
        if norm_mode != "none":
            X = _normalised(X, order=norm_mode, eps=eps)
        return p - lr * (X if adjust_lr_fn is None else adjustment(p, adjust_lr_fn) * X), M


@stacked("element")
def _normalised(X: Tensor, *, order: str, eps: float) -> Tensor:
    """Columns and rows in the order given."""
    x = X.flatten(2).to(torch.promote_types(X.dtype, torch.float32))
    for which in order.split("_"):
        x = x * (x.square().sum(1 if which == "col" else 2, keepdim=True) + eps).rsqrt()
    return x.reshape(X.shape)
