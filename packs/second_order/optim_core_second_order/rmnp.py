"""RMNP."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, maximum, norm
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment, summed


class RMNP(HiddenMatrices):
    """Momentum with every row brought to length 1: what Muon does, if rows were orthogonal already.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`::

        M = momentum M + g
        u = g + momentum M                          with nesterov; otherwise u = M
        u_i = u_i / max(|u_i|, eps)                 each row
        p = p (1 - lr weight_decay) - lr sqrt(max(1, rows/columns)) u

    It costs no matrix product. Rows are rows, whatever the shape. The authors take about a fifth of Muon's lr.

    With ``nesterov=False`` their code normalises the plain gradient and never uses M; here u is M, as in the paper. It
    also rounds steps to bfloat16, and wants a gradient for every parameter.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 4.0], [0.6, 0.8]]))
        >>> loss = RMNP([w], lr=0.5).minimize(lambda: w.square().sum())
        >>> [[round(x, 3) for x in row] for row in w.tolist()]
        [[2.7, 3.6], [0.3, 0.4]]

    Source: RMNP: Row-Momentum Normalized Preconditioning for Scalable Matrix-Based Optimization, 2026,
    https://arxiv.org/abs/2603.20527; sum, nesterov and factor as in the authors' code.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the sum of g", ge=0, lt=1)
    nesterov: bool = hyper(True, "look one gradient ahead")
    weight_decay: float = decoupled(0.0)
    eps: float = hyper(1e-12, "least length of a row", gt=0)

    momentum_buffer = state("sum of g")

    @staticmethod
    def rule(
        p: Value, g: Value, momentum_buffer: Value, *, lr: Value, momentum: Value, nesterov: bool, eps: Value
    ) -> tuple[Value, Value]:
        """The update above."""
        M, u = summed(g, momentum_buffer, momentum, nesterov=nesterov)
        return p - lr * adjustment(p, "original") * u / maximum(norm(u, over="row"), eps), M
