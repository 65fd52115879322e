"""Stable-SPAM."""

from __future__ import annotations

import math

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, amax, cos, lerp, maximum, minimum, norm, root, sqrt, square, where


class StableSPAM(RuleOptimizer):
    """Adam on gradients whose peaks and norm are brought to what is usual for their tensor; for training in few bits.

    t counts a parameter's steps, n the optimizer's, s those since the moments were last forgotten; | | is the norm of a
    tensor, and c = 1 or, given total_t, falls from 1 to eta_min along a cosine::

        X = gamma3 X + (1 - gamma3) max|g|;             x = X / (1 - gamma3^t)
        g = g x / max|g|                                where |g_i| > x
        a = c gamma1 a + (1 - c gamma1) |g|;            q = gamma2 q + (1 - gamma2) |g|^2
        g = g / |g| (a / (1 - (c gamma1)^t)) / (sqrt(q / (1 - gamma2^t)) + eps)
        m = v = 0, s = 1                                where n is a multiple of update_proj_gap
        m = c beta1 m + (1 - c beta1) g;                v = beta2 v + (1 - beta2) g^2
        p = p (1 - lr weight_decay)
        p = p - lr / (1 - (c beta1)^s) m / (sqrt(v / (1 - beta2^s)) + eps)

    At the reset the authors' code goes on with the old moments for one step, corrected as if they were new, and begins
    t anew though X, a and q are kept; both are mended here, as in pytorch-optimizer. That is one step ahead with c,
    and leaves m and v alone where the gradient is zero. Beyond total_t the authors' c rises again; here it stays.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = StableSPAM([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Huang et al., Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam, 2025, Algorithm 1,
    https://arxiv.org/abs/2502.17055; the cosine as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to both roots", ge=0)
    weight_decay: float = decoupled(0.0)
    amsgrad: bool = hyper(False, "divide by the root of the largest v so far")
    gamma1: float = hyper(0.7, "decay of the average norm; -1 for beta1", ge=-1, lt=1)
    gamma2: float = hyper(0.9, "decay of the average squared norm", ge=0, lt=1)
    gamma3: float = hyper(0.999, "decay of the average largest |g|", ge=0, lt=1)
    total_t: int | None = hyper(None, "steps in which beta1 and gamma1 fall; None: they do not", ge=1)
    eta_min: float = hyper(0.5, "factor on them at the end of that", ge=0, le=1)
    update_proj_gap: int = hyper(1000, "steps after which m and v are forgotten, 0 for never", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    max_exp_avg_sq = state("largest exp_avg_sq so far", when="amsgrad")
    m_norm_t = state("average norm", level="tensor")
    v_norm_t = state("average squared norm", level="tensor")
    m_max_t = state("average largest |g|", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        max_exp_avg_sq: Value,
        m_norm_t: Value,
        v_norm_t: Value,
        m_max_t: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        amsgrad: bool,
        gamma1: Value,
        gamma2: Value,
        gamma3: Value,
        total_t: Value | None,
        eta_min: Value,
        update_proj_gap: Value,
        step: Value,
        whole_step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        gamma1 = beta1 if gamma1 < 0 else gamma1
        if total_t is not None:
            c = eta_min + (1 - eta_min) * (1 + cos(math.pi * minimum(whole_step / (total_t + 1), 1.0))) / 2
            beta1, gamma1 = c * beta1, c * gamma1

        largest = amax(abs(g))
        m_max_t = lerp(largest, m_max_t, gamma3)
        usual = m_max_t / (1 - gamma3**step)
        g = where(abs(g) > usual, g / largest * usual, g)
        g_norm = norm(g)
        m_norm_t, v_norm_t = lerp(g_norm, m_norm_t, gamma1), lerp(square(g_norm), v_norm_t, gamma2)
        wanted = m_norm_t / (1 - gamma1**step) / (sqrt(v_norm_t / (1 - gamma2**step)) + eps)
        g = g * where(g_norm > 0, wanted / g_norm, 1.0)

        s = step
        if update_proj_gap and whole_step >= update_proj_gap:
            since = whole_step % update_proj_gap
            s = minimum(step, since + 1)
            if since < 1:
                exp_avg, exp_avg_sq = 0 * exp_avg, 0 * exp_avg_sq
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        if amsgrad:
            max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)
        c2 = 1 - beta2**s
        v = max_exp_avg_sq if amsgrad else exp_avg_sq
        p = p - lr / (1 - beta1**s) * exp_avg / root(v, eps, c2)
        return p, exp_avg, exp_avg_sq, max_exp_avg_sq, m_norm_t, v_norm_t, m_max_t
