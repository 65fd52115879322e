"""Ranger."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, centred, lerp, root, second_moment, sqrt, square
from optim_core_adaptive.rectification import rectification, warn_if_never_rectified


class Ranger(RuleOptimizer):
    """RAdam on centred gradients, with Lookahead around it.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t and RAdam's rho and r::

        g = g - mean of g over each row                      (two dimensions and more; gc_conv_only: more than three)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = p (1 - lr weight_decay)
        p = p - lr r (m / c1) sqrt(c2) / (sqrt(v) + eps)     where rho > n_sma_threshold, otherwise  p - lr m / c1
        every k steps:  slow = slow + alpha (p - slow),  p = slow

    Unlike RAdam here it does not wait for the rectification but takes momentum steps before it. The slow weights are
    the parameter before its first step; each parameter counts its own k. Rows of a single number, which the authors'
    code freezes by centring, are left alone. Of that code's two files the packaged one counts: it centres whatever
    use_gc says, which is heeded here, and decays as above; the other one multiplies the decay by r / c1 (20 times as
    much in the first step). One port ascends in the steps before the rectification.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = Ranger([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.3 * losses[0]
        True

    Source: Wright, Ranger, 2019, https://github.com/lessw2020/Ranger-Deep-Learning-Optimizer; made of RAdam
    (https://arxiv.org/abs/1908.03265), Lookahead (https://arxiv.org/abs/1907.08610) and gradient centralisation
    (https://arxiv.org/abs/2004.01461).
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1e-1))
    alpha: float = hyper(0.5, "share of the way that the slow weights go", gt=0, le=1)
    k: int = hyper(6, "steps between two synchronisations with the slow weights", ge=1)
    n_sma_threshold: int = hyper(5, "least rho for a rectified step", ge=4)
    betas: tuple[float, float] = hyper((0.95, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-5, "added to the uncorrected root", ge=0)
    weight_decay: float = decoupled(0.0)
    use_gc: bool = hyper(True, "centre the gradient of each row")
    gc_conv_only: bool = hyper(False, "only for more than 3 dimensions (2-d and 3-d convolutions)")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    slow_buffer = state("slow weights", start="p")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Warn of betas without rectification."""
        if "betas" in given:
            least = options["n_sma_threshold"]
            warn_if_never_rectified(cls.__name__, options["betas"], "every step is a momentum step", least=least)
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        slow_buffer: Value,
        *,
        lr: Value,
        alpha: Value,
        k: Value,
        n_sma_threshold: Value,
        betas: tuple[Value, Value],
        eps: Value,
        use_gc: bool,
        gc_conv_only: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if use_gc and p.ndim > (3 if gc_conv_only else 1) and p.row_size > 1:
            g = centred(g, over="row")
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        lr = lr / (1 - beta1**step)
        r = rectification(beta2, step, least=n_sma_threshold)
        direction, c2 = exp_avg, 1 - beta2**step
        if r is not None:
            v = second_moment(exp_avg_sq, c2)
            direction = r * sqrt(c2) * exp_avg / root(v, eps, c2, outside=True)
        p = p - lr * direction
        if step % k == 0:
            p = slow_buffer = lerp(slow_buffer, p, alpha)
        return p, exp_avg, exp_avg_sq, slow_buffer
