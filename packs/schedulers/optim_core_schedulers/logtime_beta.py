"""Betas on a logarithmic time."""

from __future__ import annotations

import typing

from optim_core.methods import hyper
from optim_core.schedules import Rate, Schedule, option_of


class LogTimeBeta(Schedule):
    """Betas that tend to 1, so that the averages reach as far back as a fixed share of the training so far.

    ::

        beta at step n = n/(n + delta)        beta1 and beta2 both, unless ``which`` says one

    Meant for averages without bias correction, which the first weight, delta/(1 + delta), makes needless; with Adam's,
    which takes the beta of the step, it does no harm from delta 8 on. The authors' own weight decay, wd/(1 + n/ts), is
    ``get_scheduler("inverse_time")(optimizer, option="weight_decay", decay_steps=ts)``, but for one step. For momentum
    or any other option say ``option``, which leaves ``which`` without effect.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
        >>> scheduler = LogTimeBeta(optimizer)
        >>> for _ in range(3):
        ...     print([round(beta, 3) for beta in optimizer.param_groups[0]["betas"]], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        [0.111, 0.111] [0.2, 0.2] [0.273, 0.273]

    Source: Logarithmic-time Schedules for Scaling Language Models with Momentum, 2026,
    https://arxiv.org/abs/2602.05298, and the authors' code.
    """

    sets = "beta1"

    delta: float = hyper(8.0, "time scale, in steps", gt=0)
    which: str = hyper("both", "which betas", choices=("both", "beta1", "beta2"))

    if not typing.TYPE_CHECKING:

        def __init__(self, optimizer, *, option=None, last_epoch=-1, **options):
            which = options.get("which", "both")
            self.also = "beta2" if option is None and which == "both" else ""
            option = "beta2" if option is None and which == "beta2" else option
            super().__init__(optimizer, option=option, last_epoch=last_epoch, **options)

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The beta of the step."""
        del lr, k
        return (t + 1) / (t + 1 + self.delta)

    def get_lr(self) -> list[Rate]:
        """The betas of the step; sets the second beside the first."""
        found = super().get_lr()
        also: str = vars(self)["also"]
        if also:
            for group, beta in zip(option_of(self.optimizer, also).param_groups, found, strict=True):
                group["lr"] = beta
        return found
