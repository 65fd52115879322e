"""Ranger21."""

from __future__ import annotations

import math
from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import (
    Value,
    centred,
    lerp,
    maximum,
    minimum,
    norm,
    root,
    size,
    softplus,
    sqrt,
    square,
    total,
    where,
)


class Ranger21(RuleOptimizer):
    """Adam with positive-negative momentum, five corrections of gradient and weights, and its own schedule.

    l is the rate in force; N(x) is the norm of each row, of fewer than two dimensions that of the whole::

        g = g P / N(g) where N(g) > P = agc_clip_value max(N(p), agc_eps)                                 use_agc
        g = g - mean of each row (use_gc);  g = g / (std(g) + 1e-8), where there are 3 numbers or more    use_gc_norm
        v = beta2 v + (1 - beta2) g^2                   V = root of the mean of v / (1 - beta2^t) over all parameters
        p = p (1 - l weight_decay / V)
        p = p (1 - 2 l norm_loss_factor (1 - 1 / (N(p) + eps)))                                           use_norm_loss
        m = beta1^2 m + (1 - beta1^2) g                 for one of two m in turn; the other is called n
        d = sqrt(v / (1 - beta2^t)) + eps;  d = log(1 + exp(softplus_beta d)) / softplus_beta             use_softplus
        p = p - l / (1 - beta1^t) (2 m - n) / sqrt((1 + beta2)^2 + beta2^2) / d
        every lookahead_k steps:  slow = slow + lookahead_alpha (p - slow),  p = slow                     lookahead

    l rises from 0 to lr over num_warmup_steps (2 / (1 - beta2), or warmup_pct of the run if that is more than 45 % of
    it) and, from warmdown_start_pct of the run on, falls on a straight line to warmdown_min_lr. That takes total_steps:
    without it the rate does not fall. Before m both corrections of g are made once more, as in the authors' code.

    Of that code's release, decay and norm loss reach the last parameter only (mended since), amsgrad does nothing, and
    the m are weighed 2 and -1 whatever pnm_momentum_factor says, as here. It lets the rate fall from the lr given at
    first, even upwards to warmdown_min_lr; here from the lr that the group has by then, and never upwards. It takes
    norms of three-dimensional weights over one dimension, here all but the first count. Rows of a single number, which
    centring would freeze, are left alone. Where all gradients so far were zero there is no decay.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
        >>> optimizer = Ranger21([w], lr=0.1, total_steps=200)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(200)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Wright and Demeure, Ranger21: a synergistic deep learning optimizer, 2021, Algorithm 1,
    https://arxiv.org/abs/2106.13731; softplus, standard deviation and the weights of m as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size at its highest", ge=0, search=(1e-3, 3e-1))
    needs = frozenset({"total_steps"})

    total_steps: int | None = hyper(None, "steps of the whole run; None: no warm-down", ge=1, common=True)
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of m (squared) and v", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root and to norms", gt=0)
    weight_decay: float = hyper(1e-4, "stable decay: times l, over the root of the mean of v", ge=0)
    use_norm_loss: bool = hyper(True, "pull the norm of each row towards 1")
    norm_loss_factor: float = hyper(1e-4, "strength of that pull", ge=0)
    use_softplus: bool = hyper(True, "smooth the denominator away from 0")
    softplus_beta: float = hyper(50.0, "sharpness of the softplus", gt=0)
    use_gc: bool = hyper(True, "centre the gradient of each row")
    gc_conv_only: bool = hyper(False, "only for more than 3 dimensions (2-d and 3-d convolutions)")
    use_gc_norm: bool = hyper(True, "divide the gradient of each tensor by its standard deviation")
    use_agc: bool = hyper(True, "clip the gradient of each row to a share of the row's norm")
    agc_clip_value: float = hyper(1e-2, "that share", gt=0)
    agc_eps: float = hyper(1e-3, "least norm of a row there", gt=0)
    lookahead_active: bool = hyper(True, "look ahead")
    lookahead_k: int = hyper(5, "steps between two synchronisations with the slow weights", ge=1)
    lookahead_alpha: float = hyper(0.5, "share of the way that the slow weights go", gt=0, le=1)
    use_warmup: bool = hyper(True, "let the rate rise from 0")
    num_warmup_steps: int | None = hyper(None, "steps of the rise, None for 2 / (1 - beta2)", ge=0)
    warmup_pct: float = hyper(0.22, "rise as a share of the run, where 2 / (1 - beta2) is too long", ge=0, le=1)
    warmdown_active: bool | None = hyper(None, "let the rate fall in the end; None: if total_steps is given")
    warmdown_start_pct: float = hyper(0.72, "share of the run before the rate falls", ge=0, le=1)
    warmdown_min_lr: float = hyper(3e-5, "rate at the end", ge=0)
    amsgrad: bool = hyper(False, "divide by the root of the largest v so far")

    grad_ma = state("m of odd steps")
    neg_grad_ma = state("m of even steps")
    variance_ma = state("v")
    max_variance_ma = state("largest v so far", when="amsgrad")
    lookahead_params = state("slow weights", start="p", when="lookahead_active")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Settle the schedule."""
        del given
        steps = options["total_steps"]
        if options["warmdown_active"] and steps is None:
            raise InvalidOption(
                f"{cls.__name__}: warmdown_active=True needs the length of the run: add total_steps=1000, say"
            )
        warmup = options["num_warmup_steps"]
        if warmup is None:
            warmup = math.ceil(2 / (1 - options["betas"][1]))
            if steps is not None and warmup / steps > 0.45:
                warmup = int(options["warmup_pct"] * steps)
        falls = steps is not None and options["warmdown_active"] is not False
        return options | {"num_warmup_steps": warmup, "warmdown_active": falls}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        grad_ma: Value,
        neg_grad_ma: Value,
        variance_ma: Value,
        max_variance_ma: Value,
        lookahead_params: Value,
        *,
        lr: Value,
        total_steps: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        use_norm_loss: bool,
        norm_loss_factor: Value,
        use_softplus: bool,
        softplus_beta: Value,
        use_gc: bool,
        gc_conv_only: bool,
        use_gc_norm: bool,
        use_agc: bool,
        agc_clip_value: Value,
        agc_eps: Value,
        lookahead_active: bool,
        lookahead_k: Value,
        lookahead_alpha: Value,
        use_warmup: bool,
        num_warmup_steps: Value,
        warmdown_active: bool,
        warmdown_start_pct: Value,
        warmdown_min_lr: Value,
        amsgrad: bool,
        step: Value,
        whole_step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        centre = use_gc and p.ndim > (3 if gc_conv_only else 1) and p.row_size > 1
        if use_agc:
            limit, length = agc_clip_value * maximum(_unit_norm(p), agc_eps), _unit_norm(g)
            g = g * where(length > limit, limit / maximum(length, 1e-6), 1.0)
        g = _corrected(g, centre, use_gc_norm)
        variance_ma = lerp(square(g), variance_ma, beta2)
        spread = sqrt(total(variance_ma / (1 - beta2**step)) / total(size(g)))
        g = _corrected(g, centre, use_gc_norm)
        if warmdown_active and whole_step >= int(warmdown_start_pct * total_steps):
            start = int(warmdown_start_pct * total_steps)
            fallen = minimum(1.0, (whole_step + 1 - start) / (total_steps + 1 - start))
            lr = lr - maximum(lr - warmdown_min_lr, 0.0) * fallen
        elif use_warmup and whole_step <= num_warmup_steps:
            lr = lr * whole_step / num_warmup_steps
        if weight_decay:
            p = p * (1 - where(spread > 0, lr * weight_decay / spread, 0.0))
        if use_norm_loss:
            p = p * (1 - 2 * lr * norm_loss_factor * (1 - 1 / (_unit_norm(p) + eps)))
        odd = step % 2 == 1
        m, n = (grad_ma, neg_grad_ma) if odd else (neg_grad_ma, grad_ma)
        m = lerp(g, m, square(beta1))
        if amsgrad:
            max_variance_ma = maximum(max_variance_ma, variance_ma)
        v, c2 = max_variance_ma if amsgrad else variance_ma, 1 - beta2**step
        d = softplus(sqrt(v / c2) + eps, softplus_beta) if use_softplus else root(v, eps, c2)
        p = p - lr / (1 - beta1**step) * (2 * m - n) / sqrt(square(1 + beta2) + square(beta2)) / d
        if lookahead_active and whole_step % lookahead_k == 0:
            p = lookahead_params = lerp(lookahead_params, p, lookahead_alpha)
        grad_ma, neg_grad_ma = (m, n) if odd else (n, m)
        return p, grad_ma, neg_grad_ma, variance_ma, max_variance_ma, lookahead_params


def _unit_norm(x: Value) -> Value:
    """N(x)."""
    return norm(x, over="row" if x.ndim > 1 else "tensor")


def _corrected(g: Value, centre: bool, normalise: bool) -> Value:
    """g, centred and divided by its standard deviation, each if wanted."""
    if centre:
        g = centred(g, over="row")
    if normalise:
        deviation = norm(centred(g)) / sqrt(size(g) - 1)
        g = g / where(size(g) > 2, deviation + 1e-8, 1.0)
    return g
