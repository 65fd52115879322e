"""HyperBallAdamW."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.methods import around
from optim_core.rules import Value, lerp, root, second_moment, square, where


class HyperBallAdamW(RuleOptimizer):
    """Keeps the norm of each weight matrix, and turns it along the gradient divided by the root of its average square.

    Composed of the rule below and the wrappers ``hyperball``, ``cautious`` and ``eps_placement`` (``"floor"``), from
    the outside in. With c2 = 1 - beta2^t::

        v = beta2 v + (1 - beta2) g^2
        u = g / max(sqrt(v / c2), eps)
        d = u + weight_decay p         cautious_weight_decay: decay only where u and p have the same sign
        caution: d only where it goes with g, scaled by the share of such elements
        tensors of 2 or more dimensions, with n the norm that they began with:
            q = p - lr n d / |d|,   p = q n / |q|
        others: p = p - lr d

    There is no first moment: betas[0] is not used. The paper's hyperball keeps Adam's, which is ``hyperball`` around
    ``adamw``. lr is an angle for matrices, 0.01 to 0.02, and Adam's step for the rest: two groups are better than one.
    A matrix of zeros takes the plain step until it has a norm; HeavyBall's stays zero for ever. Its options of all
    methods (clipping, mars, palm, storage in low precision) are wrappers here, or other options.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = HyperBallAdamW([w], lr=0.1)
        >>> for _ in range(10):
        ...     loss = optimizer.minimize(lambda: (w * torch.tensor([[1.0, -2.0]])).sum())
        >>> round(w.norm().item(), 3)
        5.0

    Source: Wen et al., Fantastic Pretraining Optimizers and Where to Find Them 2.1: Hyperball Optimization, 2025; in
    the form of HeavyBall's class.
    """

    around = (
        around("hyperball", radius="initial", project=True, min_dims=2, eps=1e-12),
        around("cautious", mask_floor=1e-12, eps_mode="base"),
        around("eps_placement", place="floor"),
    )

    lr: float = hyper(2.5e-3, "angle of a step, for matrices; step size, for others", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.99), "not used; decay of the average of g squared", ge=0, lt=1)
    eps: float = hyper(1e-8, "least denominator", ge=0)
    weight_decay: float = hyper(0.0, "decay, added to the direction", ge=0)
    caution: bool = hyper(False, "leave out what goes against the gradient")
    cautious_weight_decay: bool = hyper(False, "decay only where parameter and update have the same sign")

    exp_avg_sq = state("average of g squared")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        cautious_weight_decay: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The rule that hyperball goes around."""
        exp_avg_sq = lerp(square(g), exp_avg_sq, betas[1])
        c2 = 1 - betas[1] ** step
        u = g / root(second_moment(exp_avg_sq, c2), eps, c2)
        if weight_decay:
            u = u + weight_decay * (where(p * u > 0, p, 0.0) if cautious_weight_decay else p)
        return p - lr * u, exp_avg_sq
