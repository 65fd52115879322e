"""MOP."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, dot, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment, averaged
from optim_core_second_order.singular import svd


class MOP(HiddenMatrices):
    """Muon with the orthogonal factor by singular values, and steps that shrink with the gradient.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g                   with nesterov; otherwise u = M
        U S V^T = u
        p = p (1 - lr weight_decay) - lr scale r U V^T

    r is the nuclear norm, the sum of S, with ``adjust_lr_fn="nuclear"``: steps vanish at a minimum, and lr depends on
    the size of gradients. "original" is sqrt(max(1, rows/columns)), "spectral" sqrt(rows/columns), "match_rms_adamw"
    0.2 sqrt(max(rows, columns)).

    The factor is exact, so where u has no full rank the step has full size in arbitrary directions, except for u = 0,
    which is no step here. A decomposition for each matrix and step is slow. It is PolarGrad with ``polar_first=False``.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([3.0, 1.0])))
        >>> loss = MOP([w], lr=0.1, momentum=0.0).minimize(lambda: 0.5 * w.square().sum())
        >>> [round(x, 1) for x in w.diagonal().tolist()]
        [2.6, 0.6]

    Source: no publication; the code named in the spec, with the scale of Lau et al., PolarGrad, 2025,
    https://arxiv.org/abs/2505.21799.
    """

    lr: float = hyper(3e-4, "step size", ge=0, search=(1e-4, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    weight_decay: float = decoupled(0.01)
    nesterov: bool = hyper(False, "look one gradient ahead")
    adjust_lr_fn: str = hyper("nuclear", "what r is", choices=("nuclear", "original", "spectral", "match_rms_adamw"))
    scale: float = hyper(1.0, "factor of all steps of matrices", ge=0)

    momentum_buffer = state("average of g")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        adjust_lr_fn: str,
        scale: Value,
    ) -> tuple[Value, Value]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        Q = _polar_factor(u)
        r = dot(u, Q) if adjust_lr_fn == "nuclear" else adjustment(p, adjust_lr_fn)
        return p - lr * scale * r * Q, M


@stacked("element")
def _polar_factor(u: Tensor) -> Tensor:
    """U V^T; 0 of 0."""
    U, S, Vh = svd(u.flatten(2).double())
    return torch.bmm(torch.where(S[:, None, :1] == 0, 0, U), Vh).reshape(u.shape).to(u.dtype)
