"""OrthoLaProp."""

from __future__ import annotations

from optim_core import hyper
from optim_core.rules import Value, denominator, dot, lerp, maximum, norm, size, sqrt, square, where
from optim_core_adaptive.folded import FoldedMoments, folded, last_step


class OrthoLaProp(FoldedMoments):
    """LaProp of the part of the gradient that is at right angles to the weights, at the gradient's length.

    b1 and b2 are betas folded with their bias correction, b = 1 - (1 - beta) / (1 - beta^t); | | is the norm of a
    tensor::

        q = g - <p, g> / (<p, p> + eps) p
        q = q |g| / max(|q|, 1e-6)
        v = b2 v + (1 - b2) q^2
        m = b1 m + (1 - b1) q / max(sqrt(v), 1e-8)
        p = p (1 - lr weight_decay) - lr m

    So the loss is not lowered by scaling weights up, which keeps networks from grokking. The division by roots comes
    after the projection, and turns steps somewhat back towards the weights. In a tensor of one element q is eps of g,
    and where a gradient is parallel to a larger tensor it is rounding; the division makes steps of full size of either:
    leave gains and biases of one element to another optimizer. q of one element is eps g / (p^2 + eps) here, which is
    the same without a difference of nearly equal numbers; HeavyBall's own rounds to 1e-8 in float64, and in float32 to
    nothing but noise.

    lr grows to what is given over ``warmup_steps``. ``caution`` leaves out what goes against g, before its projection,
    and lengthens the rest by numel/kept; with ``cautious_weight_decay`` only that decays whose update makes it smaller.
    HeavyBall keeps states in float32.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
        >>> loss = OrthoLaProp([w], lr=0.1).minimize(lambda: (w * torch.tensor([3.0, 4.0])).sum())
        >>> [round(x, 3) for x in w.tolist()]
        [1.0, -0.1]

    Source: Prieto et al., Grokking at the Edge of Numerical Stability, 2025, https://arxiv.org/abs/2501.04697,
    Algorithm 1, the projection; Ziyin, Wang and Ueda, LaProp, 2020, https://arxiv.org/abs/2002.04839; put together by
    HeavyBall.
    """

    eps: float = hyper(1e-8, "added to the squared norm of the weights", gt=0)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        warmup_steps: Value,
        caution: bool,
        cautious_weight_decay: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        q = where(size(p) > 1, g - dot(p, g) / (dot(p, p) + eps) * p, eps / (dot(p, p) + eps) * g)
        q = q * (norm(g) / maximum(norm(q), 1e-6))
        # not named as the second moment: it is that of q, and a steady gradient makes no steady q
        exp_avg_sq = lerp(square(q), exp_avg_sq, folded(beta2, step))
        d = denominator(maximum(sqrt(exp_avg_sq), 1e-8))
        exp_avg = lerp(q / d, exp_avg, folded(beta1, step))
        p = last_step(
            p,
            g,
            exp_avg,
            lr=lr,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            caution=caution,
            cautious_weight_decay=cautious_weight_decay,
            step=step,
        )
        return p, exp_avg, exp_avg_sq
