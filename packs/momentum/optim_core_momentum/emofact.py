"""EmoFact."""

from __future__ import annotations

from optim_core import hyper
from optim_core.rules import Value, sign
from optim_core_momentum.emotional import Drive, Emotional


class EmoFact(Emotional):
    """Sign descent whose steps grow and shrink with how the loss has gone lately.

    ::

        p = p (1 - lr weight_decay) - lr d sign(g)

    :class:`~optim_core_momentum.emotional.Emotional` tells what d is. The authors' code divides g by roots of factored
    averages of its square before it takes the sign, which changes nothing: they, betas and eps are left out.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = EmoFact([w], lr=0.25, weight_decay=0.0).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.75, -1.75]

    Source: EmoNavi, emofact.py, version 3.6.1, 2025, https://github.com/muooon/EmoNavi; no paper.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-5, 1e-2))
    weight_decay: float = hyper(0.01, "decoupled decay, times lr, after the pull of the shadow", ge=0)
    use_shadow: bool = hyper(False, "keep a slow copy of the weights, and go back to it where the loss changes much")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        loss: Value,
        ema_short: Value,
        ema_long: Value,
        shadow: Value | None,
        *,
        lr: Value,
        weight_decay: Value,
        maximize: bool,
        whole_step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        drive = Drive.of(loss, ema_short, ema_long, whole_step=whole_step, maximize=maximize)
        p, shadow = drive.pulled(p, shadow, lr=lr)
        u = sign(g)
        return p * (1 - lr * weight_decay) - lr * drive.size * u, loss, drive.short, drive.long, shadow
