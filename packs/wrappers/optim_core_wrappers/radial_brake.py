"""Radial brake."""

from __future__ import annotations

from optim_core.methods import hyper
from optim_core.rules import Inner, Value, dot, maximum, norm, square, where
from optim_core.wrapping import RuleWrapper


class RadialBrake(RuleWrapper):
    """Lets the norm of each weight matrix grow, or shrink, by a share of what a step would make of it.

    With w the weights before the base's step and w' after it, norms over the whole tensor, and s = outward where the
    norm grows, else inward::

        "norm":     w = w' (|w| + s (|w'| - |w|)) / |w'|
        "tangent":  d = w' - w;   c = <d, w> / max(|w|^2, eps);   d = d - (1 - s) c w
                    w = (w + d) t / max(|w + d|, eps),   t = max(|w| + <d, w> / max(|w|, eps), eps)

    They differ in second order: a step at right angles to w makes its norm grow a little, of which "norm" lets a share
    through and "tangent" nothing, so that even outward = inward = 1 is not the base itself there. Weight decay of the
    base counts as a move inward. Under "tangent" a tensor of norm zero stays at norm eps: leave zero-initialised ones
    out.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = RadialBrake(torch.optim.SGD([weight], lr=1.0))
        >>> _ = optimizer.minimize(lambda: -(weight * torch.tensor([[0.6, 0.8]])).sum())
        >>> [round(x, 3) for x in weight[0].tolist()]  # half of a step outward of length 1
        [3.3, 4.4]

    Source: NVIDIA's Emerging-Optimizers ("norm") and records of modded-nanogpt ("tangent"); there is no paper.
    """

    outward: float = hyper(0.5, "share of the growth of the norm that is kept", ge=0, le=1)
    inward: float = hyper(1.0, "share of its shrinking that is kept", ge=0, le=1)
    mode: str = hyper("norm", "brake the norm after the step, or the step itself", choices=("norm", "tangent"))
    min_dims: int = hyper(2, "tensors of fewer dimensions take the base's plain step", ge=0)
    eps: float = hyper(1e-12, "lower bound of norms", gt=0)

    @staticmethod
    def rule(
        p: Value, g: Value, inner: Inner, *, outward: float, inward: float, mode: str, min_dims: int, eps: float
    ) -> Value:
        """The update above."""
        moved = inner(p, g)
        if p.ndim < min_dims:
            return moved.p
        a = norm(p)
        if mode == "norm":
            b = norm(moved.p)
            s = where(b > a, outward, inward)
            return moved.p * where(b > 0, (a + s * (b - a)) / where(b > 0, b, 1.0), 1.0)
        d = moved.since(p)
        c = dot(d, p) / maximum(square(a), eps)
        d = d - (1 - where(c > 0, outward, inward)) * c * p
        q = p + d
        return q * (maximum(a + dot(d, p) / maximum(a, eps), eps) / maximum(norm(q), eps))
