"""Sophia-H."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.optimizers import HessianDiagonal
from optim_core.rules import Value, clamp, lerp, maximum


class SophiaH(HessianDiagonal):
    """Average gradient over an average of sampled curvature, with every element's step clipped to lr.

    With d Hutchinson's estimate of the Hessian's diagonal, taken at steps 1, 1 + update_period, ...::

        h = beta2 h + (1 - beta2) d          at the steps of an estimate
        m = beta1 m + (1 - beta1) g          no bias correction of either
        p = p (1 - lr weight_decay) - lr clip(m / max(rho h, eps), -1, 1)

    Where curvature is negative, small or not known yet, the step is lr sign(m): that is the safeguard, so |h| is not
    taken. lr and rho are those of the final paper; in its first version (and in pytorch-optimizer) the same steps are
    lr/rho, rho and eps/rho. ``needs_graph`` says whether the next step takes an estimate, so that
    ``loss.backward(create_graph=optimizer.needs_graph)`` pays for a graph only then; ``minimize`` does it by itself.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SophiaH([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.75, -1.75]

    Source: Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training, 2023,
    Algorithm 3 with the estimator of Algorithm 1, https://arxiv.org/abs/2305.14342.
    """

    lr: float = hyper(6e-4, "step size: the most that an element moves by", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.96, 0.99), "decay of m; of h, from estimate to estimate", ge=0, lt=1)
    rho: float = hyper(0.01, "factor of h: the larger, the fewer elements are clipped (0: none is not)", ge=0)
    eps: float = hyper(1e-12, "least denominator", gt=0)
    weight_decay: float = decoupled(0.0)
    update_period: int = hyper(10, "steps from one estimate to the next", ge=1, common=True)
    num_samples: int = hyper(1, "draws averaged in an estimate", ge=1, common=True)
    hessian_distribution: str = hyper(
        "gaussian",
        "what is drawn; 'rademacher' varies less",
        choices=("gaussian", "rademacher"),
        common=True,
    )

    exp_avg = state("average of g")
    hessian = state("average of the estimates")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        hessian_diag: Value | None,
        exp_avg: Value,
        hessian: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        rho: Value,
        eps: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if hessian_diag is not None:
            hessian = lerp(hessian_diag, hessian, beta2)
        exp_avg = lerp(g, exp_avg, beta1)
        return p - lr * clamp(exp_avg / maximum(rho * hessian, eps), -1, 1), exp_avg, hessian
