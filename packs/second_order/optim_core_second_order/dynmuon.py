"""DynMuon."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, exp, maximum, norm, stacked
from optim_core_second_order.coefficients import SETS, Coefficients
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, ns_triples, summed


class DynMuon(Orthogonalised):
    """From momentum SGD over Muon to steps that favour weak directions, as training goes on.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`. t counts the
    optimizer's steps, and q, the power of the singular values, falls from p_max to p_min::

        q = p_min + (p_max - p_min) / (1 + exp((t / total_steps - tau_ratio) / width_ratio))
        M = momentum M + g
        u = g + momentum M                             with nesterov; otherwise u = M
        X = u                                          while q >= 0.25
        X = orthogonal(u)                              while q >= 0
        X = (Y + d E Y + d (d - 1) / 2 E^2 Y) c^q      then; c = ||u|| + 1e-7, d = q / 2, E = u u^T / c^2 - 1,
                                                       Y = orthogonal(u / c)
        p = p (1 - lr weight_decay) - lr r X

    r is sqrt(rows/columns), 0.2 sqrt(max(rows, columns)) with ``adjust_lr_fn="match_rms_adamw"``, 1 with None.

    q is a power in the last phase only: the size of a step jumps twice, and in the first phase it is that of momentum
    SGD, so that the loss should be a mean. With the defaults q begins at 0.45, not at p_max. In the last phase steps
    depend mildly on the scale of the loss. The record of the speed run shapes at every q. The authors' code keeps q in
    a global of its module, where two optimizers share it.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = DynMuon([w], lr=0.02, total_steps=30)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < losses[0]
        True

    Source: DynMuon: A Dynamic Spectral Shaping View of Muon, 2026, https://arxiv.org/abs/2605.17109; phases as in the
    code named in the spec.
    """

    needs = frozenset({"total_steps"})

    lr: float = hyper(0.01, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the sum of gradients", ge=0, lt=1)
    weight_decay: float = decoupled(0.01)
    nesterov: bool = hyper(False, "look one gradient ahead")
    adjust_lr_fn: str | None = hyper("spectral", "what r is", choices=("spectral", "match_rms_adamw", None))
    eps: float = hyper(1e-8, "added to the norm in the middle phase", gt=0)
    total_steps: int = hyper(20000, "length of the run", ge=1)
    p_max: float = hyper(1.0, "first power")
    p_min: float = hyper(-0.25, "last power", examples=[0.1])
    tau_ratio: float = hyper(0.02, "middle of the change, as a share of the run")
    width_ratio: float = hyper(0.08, "width of the change, as a share of the run", ge=0)
    ns_coefficients: Coefficients = ns_triples(SETS["quintic5"].triples)

    momentum_buffer = state("decayed sum of gradients")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        adjust_lr_fn: str | None,
        eps: Value,
        total_steps: Value,
        p_max: Value,
        p_min: Value,
        tau_ratio: Value,
        width_ratio: Value,
        whole_step: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M, u = summed(g, momentum_buffer, momentum, nesterov=nesterov)
        late = (whole_step / total_steps - tau_ratio) / maximum(width_ratio, 1e-8)
        q = p_min + (p_max - p_min) / (1 + exp(late))
        if q >= 0.25:
            X = u
        elif q >= 0:
            X = orthogonal(u, eps)
        else:
            c = norm(u) + 1e-7
            X = _shaped(u / c, orthogonal(u / c), d=q / 2) * c**q
        return p - lr * (X if adjust_lr_fn is None else adjustment(p, adjust_lr_fn) * X), M


@stacked("element")
def _shaped(X: Tensor, Y: Tensor, *, d: float) -> Tensor:
    """(1 + E)^d Y to the second power of E = X X^T - 1, on the shorter side."""
    x, y = X.flatten(2), Y.flatten(2).to(X.dtype)
    tall = x.shape[1] > x.shape[2]
    x, y = (x.mT, y.mT) if tall else (x, y)

    def beyond(z: Tensor) -> Tensor:
        return torch.bmm(x, torch.bmm(x.mT, z)) - z

    first = beyond(y)
    y = y + d * first + d * (d - 1) / 2 * beyond(first)
    return (y.mT if tall else y).reshape(X.shape)
