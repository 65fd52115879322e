"""SignLaProp."""

from __future__ import annotations

from optim_core.rules import Value, lerp, maximum, norm, sign
from optim_core_adaptive.folded import FoldedMoments, average_of_squares, floored_root, folded, last_step


class SignLaProp(FoldedMoments):
    """LaProp of which only signs are taken, at the length that its steps had.

    b1 and b2 are betas folded with their bias correction, b = 1 - (1 - beta) / (1 - beta^t); | | is the norm of a
    tensor::

        v = b2 v + (1 - b2) g^2
        m = b1 m + (1 - b1) g / max(sqrt(v), eps)
        u = sign(m) |m| / |sign(m)|
        p = p (1 - lr weight_decay) - lr u

    lr grows to what is given over ``warmup_steps``. ``caution`` leaves out what goes against g and lengthens the
    rest by numel/kept; with ``cautious_weight_decay`` only that decays whose update makes it smaller. HeavyBall ignores
    its group's eps for a fixed 1e-8, and keeps states in float32.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SignLaProp([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Ziyin, Wang and Ueda, LaProp: Separating Momentum and Adaptivity in Adam, 2020,
    https://arxiv.org/abs/2002.04839; the sign is HeavyBall's.
    """

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
        exp_avg_sq = average_of_squares(g, exp_avg_sq, folded(beta2, step))
        exp_avg = lerp(g / floored_root(exp_avg_sq, eps), exp_avg, folded(beta1, step))
        s = sign(exp_avg)
        p = last_step(
            p,
            g,
            s * (norm(exp_avg) / maximum(norm(s), 1e-6)),
            lr=lr,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            caution=caution,
            cautious_weight_decay=cautious_weight_decay,
            step=step,
        )
        return p, exp_avg, exp_avg_sq
