"""EmoNavi."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.rules import Value, lerp, root, square
from optim_core_momentum.emotional import Drive, Emotional


class EmoNavi(Emotional):
    """Adam without bias correction, whose steps grow and shrink with how the loss has gone lately.

    ::

        m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
        p = p (1 - lr weight_decay) - lr d m / (sqrt(v) + eps)

    :class:`~optim_core_momentum.emotional.Emotional` tells what d is. With the default betas the first step is 1.4 lr.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = EmoNavi([w], lr=0.25, weight_decay=0.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.646, -1.646]

    Source: EmoNavi, emonavi.py, version 3.6.1, 2025, https://github.com/muooon/EmoNavi; no paper.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.9, 0.995), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.01, "decoupled decay, times lr, after the pull of the shadow", ge=0)
    use_shadow: bool = hyper(False, "keep a slow copy of the weights, and go back to it where the loss changes much")

    exp_avg = state("m, average of g")
    exp_avg_sq = state("v, average of g squared")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        loss: Value,
        ema_short: Value,
        ema_long: Value,
        shadow: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        maximize: bool,
        whole_step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        drive = Drive.of(loss, ema_short, ema_long, whole_step=whole_step, maximize=maximize)
        p, shadow = drive.pulled(p, shadow, lr=lr)
        exp_avg, exp_avg_sq = lerp(g, exp_avg, betas[0]), lerp(square(g), exp_avg_sq, betas[1])
        u = exp_avg / root(exp_avg_sq, eps)
        return (
            p * (1 - lr * weight_decay) - lr * drive.size * u,
            exp_avg,
            exp_avg_sq,
            loss,
            drive.short,
            drive.long,
            shadow,
        )
