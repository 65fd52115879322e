"""SUDS."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.rules import Value, dot, lerp, maximum, norm, square, stacked, where
from optim_core_adaptive.folded import FoldedMoments, floored_root, folded, last_step


class SUDSAdamW(FoldedMoments):
    """AdamW in a basis one of whose axes follows the main direction of gradients, by Oja's rule.

    f is that direction, of length 1 over the whole tensor, and H x = x - 2 (x . w) w the reflection that exchanges f
    and the first axis: w = (e_1 - f) / |e_1 - f|. b1 and b2 are betas folded with their bias correction, b = 1 - (1 -
    beta) / (1 - beta^s), s = t - 1::

        y = H g
        m = b1 m + (1 - b1) y;    v = b2 v + (1 - b2) y^2
        u = H (m / max(sqrt(v), eps))
        f = f + precond_lr ((g . f) g - (g . f)^2 f);    f = f / |f|
        p = p (1 - lr weight_decay) - lr u

    The first gradient that is not zero only makes f = g / |g|: no step, no decay. (HeavyBall takes the first one, and
    if that is zero f stays so.) m and v are not turned with f. Gradients whose squared norm is above 1 / precond_lr
    make f overshoot. Whole tensors of real numbers only, not sharded ones. ``warmup_steps``, ``caution`` and
    ``cautious_weight_decay`` are as in SignLaProp; HeavyBall ignores its group's eps for a fixed 1e-8.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = SUDSAdamW([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[0] == losses[1] and losses[-1] < 0.1 * losses[0]
        True

    Source: HeavyBall, 2024, https://github.com/HomebrewML/HeavyBall; there is no paper.
    """

    precond_lr: float = hyper(1e-2, "step size of the direction", ge=0)

    fisher_approx = state("f")
    count = state("gradients since the first that was not zero, this one included", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        fisher_approx: Value,
        count: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        warmup_steps: Value,
        caution: bool,
        cautious_weight_decay: bool,
        precond_lr: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        f, begun = fisher_approx, count > 0
        s = maximum(count, 1.0)
        y = _reflected(g, f)
        v = lerp(square(y), exp_avg_sq, folded(beta2, s))  # of reflected gradients: no second moment of the step
        m = lerp(y, exp_avg, folded(beta1, s))
        u = _reflected(m / floored_root(v, eps), f)
        gf, g_norm = dot(g, f), norm(g)
        turned = f + precond_lr * (gf * g - gf * gf * f)
        new_f = where(begun, turned / maximum(norm(turned), 1e-12), g / maximum(g_norm, 1e-8))
        new_p = last_step(
            p,
            g,
            u,
            lr=lr,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            caution=caution,
            cautious_weight_decay=cautious_weight_decay,
            step=step,
        )
        return (
            where(begun, new_p, p),
            where(begun, m, exp_avg),
            where(begun, v, exp_avg_sq),
            new_f,
            count + where(begun | (g_norm > 0), 1.0, 0.0),
        )


@stacked("element")
def _reflected(x: Tensor, f: Tensor) -> Tensor:
    """H x, tensors being taken flat."""
    flat, w = (y.reshape(len(y), -1) for y in (x, f))
    w = -torch.nn.functional.normalize(w, dim=1)
    w[:, 0] += 1
    w = torch.nn.functional.normalize(w, dim=1)
    return (flat - 2 * (flat * w).sum(dim=1, keepdim=True) * w).reshape(x.shape)
