"""Dion2."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.coefficients import CONVERGENT
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment, ns_precision
from optim_core_second_order.selected_slices import POLAR_EXPRESS, Triples, orthogonal_slices


class Dion2(HiddenMatrices):
    """Muon on the largest rows of the momentum; the others wait and grow.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. Of a matrix with more rows than columns all this is about columns::

        M = M + g
        S = the rows of M with the largest sums of |.|        fraction of all, one at least
        M = ef_decay M in these rows
        X = S / (ns_norm_scale |S| + eps)
        X = a X + b X X^T X + c (X X^T)^2 X                   ns_steps times, with ns_coefficients
        p = p (1 - lr weight_decay);  p = p - lr r X in these rows

    r is sqrt(rows/columns) of the whole matrix ("spectral"), 0.2 sqrt(max(rows, columns)) ("match_rms_adamw"), or 1
    (None). M decays only where it has been used. A single row is just brought to length 1. Of rows with equal sums any
    may be taken. All runs on one process; the authors' code takes the largest rows of each shard, and can cut rows into
    heads (``num_heads``), which is not here. The iteration runs in bfloat16 (``ns_dtype``), as there.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> loss = Dion2([w], lr=0.5, weight_decay=0.0, ns_dtype="float32").minimize(lambda: w.square().sum())
        >>> [[round(x, 1) for x in row] for row in w.tolist()]  # the larger row only
        [[2.5, 0.0], [0.0, 1.0]]

    Source: Dion2: A Simple Method to Shrink Matrix in Muon, 2025, https://arxiv.org/abs/2512.16928; coefficients and r
    as in the authors' code.
    """

    lr: float = hyper(0.01, "step size", ge=0, search=(1e-3, 1e-1))
    fraction: float = hyper(0.25, "share of the rows that a step works on", gt=0, le=1)
    ef_decay: float = hyper(0.95, "factor of M where it has been used", ge=0, le=1)
    weight_decay: float = decoupled(0.01)
    eps: float = hyper(1e-8, "added to the norm", gt=0)
    adjust_lr_fn: str | None = hyper("spectral", "what r is; None for 1", choices=("spectral", "match_rms_adamw"))
    ns_steps: int = hyper(5, "steps of the iteration", ge=1)
    ns_coefficients: Triples = hyper(POLAR_EXPRESS, "a, b and c of a step, or of each", examples=[CONVERGENT])
    ns_norm_scale: float = hyper(1.02, "factor of the norm", gt=0)
    ns_dtype: str = ns_precision()

    momentum_buffer = state("M")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        fraction: Value,
        ef_decay: Value,
        eps: Value,
        adjust_lr_fn: str | None,
        ns_steps: Value,
        ns_coefficients: Triples,
        ns_norm_scale: Value,
        ns_dtype: str,
    ) -> tuple[Value, Value]:
        """The update above."""
        iteration = {"steps": ns_steps, "coefficients": ns_coefficients, "norm_scale": ns_norm_scale, "dtype": ns_dtype}
        M, X = _slices(momentum_buffer + g, fraction=fraction, keep=ef_decay, eps=eps, **iteration)
        r = adjustment(p, adjust_lr_fn) if adjust_lr_fn else 1
        return p - lr * r * X, M


@stacked("element", "element")
def _slices(M: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    """M after it has been used, and X."""
    return orthogonal_slices(M, side="shorter", **how)
