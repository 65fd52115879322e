"""AdaTAM."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, dot, gain, lerp, norm, root, second_moment, square, where


class AdaTAM(RuleOptimizer):
    """Adam whose momentum takes in a gradient by how well it agrees with the momentum: torque-aware momentum.

    The cosine is that of m before this step and g, over the whole tensor (0 if either is 0)::

        p = p (1 - lr weight_decay)
        s = decay_rate s + (1 - decay_rate) cos(m, g)
        d = (1 + s) / 2
        m = beta1 m + (eps + d) g
        v = beta2 v + (1 - beta2) g^2
        p = p - lr m / (sqrt(v) + eps)

    m is a sum, and nothing is corrected: the first step is 16 lr by default, later ones are up to ten. Choose lr well
    below Adam's. No code of the authors' is known and the listing of this variant was not at hand: what goes beyond the
    damping d is as in kozistr's pytorch_optimizer, which has elementwise products of normalised columns for the cosine.
    decoupled_weight_decay=False is AdaTAM, the default AdaTAMW.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaTAM([w], lr=0.01).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.842, -1.842]

    Source: Malviya et al., Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the sum of g and of the average square", ge=0, lt=1)
    decay_rate: float = hyper(0.9, "decay of the average cosine", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root and to the weight of g", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    exp_avg = state("decayed sum of damped gradients")
    exp_avg_sq = state("average of g squared")
    s = state("average cosine", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        s: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        decay_rate: Value,
        eps: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        norms = norm(exp_avg) * norm(g)
        s = lerp(where(norms > 0, dot(exp_avg, g) / norms, 0.0), s, decay_rate)
        weight = eps + (1 + s) / 2
        exp_avg = gain(betas[0] * exp_avg + weight * g, weight / (1 - betas[0]))
        exp_avg_sq = lerp(square(g), exp_avg_sq, betas[1])
        return p - lr * exp_avg / root(second_moment(exp_avg_sq), eps), exp_avg, exp_avg_sq, s
