"""AdaGO."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, minimum, norm, sqrt, square
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised


class AdaGO(Orthogonalised):
    """Muon with AdaGrad's step size, one for each matrix, from the norms of its gradients.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`::

        M = momentum M + (1 - momentum) g
        n = min(||g||, gamma)
        v = sqrt(v^2 + n^2)                            v starts at v0
        p = p (1 - lr weight_decay) - max(eps, lr n / v) orthogonal(M)

    The first step is lr long, whatever the gradient's scale. eps is the least step, no guard of a division: late in
    training it is Muon with lr eps, however small a schedule makes lr. With lr 0 nothing moves; in the paper it does.

    Weight decay is ours, as in pytorch-optimizer, which keeps the sum of squares in v and divides by that instead of
    its root.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = AdaGO([w], lr=0.5)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Zhang et al., AdaGrad Meets Muon: Adaptive Stepsizes for Orthogonal Updates, 2025, Algorithm 1,
    https://arxiv.org/abs/2509.02981.
    """

    lr: float = hyper(0.05, "step size", ge=0, search=(1e-2, 1.0))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    gamma: float = hyper(10.0, "most that a norm counts", gt=0)
    eps: float = hyper(5e-4, "least step", ge=0)
    v0: float = hyper(1e-6, "first value of v", gt=0)
    weight_decay: float = decoupled(0.0)

    momentum_buffer = state("average of g")
    v = state("root of the sum of squared norms", level="tensor", start="v0")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        v: Value,
        *,
        lr: Value,
        momentum: Value,
        gamma: Value,
        eps: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        M = lerp(g, momentum_buffer, momentum)
        n = minimum(norm(g), gamma)
        v = sqrt(square(v) + square(n))
        return (p - maximum(lr * n / v, eps) * orthogonal(M) if lr != 0 else p), M, v
