"""EmoLynx."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.rules import Value, lerp, sign
from optim_core_momentum.emotional import Drive, Emotional


class EmoLynx(Emotional):
    """Lion whose steps grow and shrink with how the loss has gone lately.

    ::

        p = p (1 - lr weight_decay) - lr d sign(beta1 m + (1 - beta1) g)
        m = beta2 m + (1 - beta2) g

    :class:`~optim_core_momentum.emotional.Emotional` tells what d is. The authors' class has an eps without effect.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = EmoLynx([w], lr=0.25, weight_decay=0.0).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.75, -1.75]

    Source: EmoNavi, emolynx.py, version 3.6.1, 2025, https://github.com/muooon/EmoNavi; no paper.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.9, 0.995), "share of m in the sign; decay of m", ge=0, lt=1)
    weight_decay: float = hyper(0.01, "decoupled decay, times lr, after the pull of the shadow", ge=0)
    use_shadow: bool = hyper(False, "keep a slow copy of the weights, and go back to it where the loss changes much")

    exp_avg = state("m, average of g")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        loss: Value,
        ema_short: Value,
        ema_long: Value,
        shadow: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        weight_decay: Value,
        maximize: bool,
        whole_step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        drive = Drive.of(loss, ema_short, ema_long, whole_step=whole_step, maximize=maximize)
        p, shadow = drive.pulled(p, shadow, lr=lr)
        beta1, beta2 = betas
        u, exp_avg = sign(lerp(g, exp_avg, beta1)), lerp(g, exp_avg, beta2)
        return p * (1 - lr * weight_decay) - lr * drive.size * u, exp_avg, loss, drive.short, drive.long, shadow
