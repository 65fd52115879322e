"""Less when a metric stops getting better, after a warm-up."""

from __future__ import annotations

import math

from optim_core.methods import hyper
from optim_core.schedules import Rate, Schedule


class PlateauWithWarmup(Schedule):
    """The lr times a factor whenever a metric has stopped getting better, after a warm-up that does not look at it.

    After epoch n, told by ``step(metric)``, with W = warmup_t::

        lr = warmup_lr_init + (base - warmup_lr_init) n/W       n <= W, the metric not counting at all
        lr = max(base decay_rate^r, lr_min)                     after it, r being the reductions so far

    A metric is better if it is above the best by more than a share ``threshold`` of it (``mode="max"``, the default:
    an accuracy; torch's is "min"). One reduction comes after more than ``patience_t`` metrics that are not, and for
    ``cooldown_t`` steps after it none is counted. ``step()`` without a metric goes on without judging. timm's own
    forgets patience and cool-down when it is saved, and needs the number of the epoch; this one keeps all. torch's
    ``eps``, below which a reduction is left out, is not here.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = PlateauWithWarmup(optimizer, patience_t=1, warmup_t=2)
        >>> for accuracy in (0.1, 0.2, 0.3, 0.3, 0.3, 0.3):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step(accuracy)
        0.0 0.5 1.0 1.0 1.0 0.1

    Source: timm's ``PlateauLRScheduler``, https://github.com/huggingface/pytorch-image-models, over torch's
    ``ReduceLROnPlateau``.
    """

    needs = frozenset({"metric"})

    mode: str = hyper("max", "whether more or less of the metric is better", choices=("max", "min"))
    decay_rate: float = hyper(0.1, "factor of a reduction", gt=0, lt=1)
    patience_t: int = hyper(10, "metrics without an improvement that are borne", ge=0)
    threshold: float = hyper(1e-4, "share of the best by which a metric must be better", ge=0)
    cooldown_t: int = hyper(0, "steps after a reduction that are not counted", ge=0)
    warmup_t: int = hyper(0, "steps of the warm-up", ge=0)
    warmup_lr_init: float = hyper(0.0, "lr at the start of the warm-up", ge=0)
    lr_min: float = hyper(0.0, "lowest lr after reductions", ge=0)

    def check(self) -> None:
        """Begin without a best metric.

        Raises:
            InvalidOption: it is to go on from an epoch, whose best metric nobody knows.
        """
        super().check()
        if self.last_epoch != -1:
            raise self.reject(
                f"last_epoch={self.last_epoch} does not tell the best metric so far: leave it out, and resume by "
                "scheduler.load_state_dict(...)"
            )
        self.best = -math.inf if self.mode == "max" else math.inf
        self.bad, self.cooldown, self.reductions = 0, 0, 0

    def step(self, metric: float | None = None) -> None:
        """Go on to the next step, judging the metric of the last one."""
        if metric is not None and self.last_epoch >= self.warmup_t:
            self._judge(float(metric))
        super().step()

    def _judge(self, metric: float) -> None:
        up = self.mode == "max"
        better = metric > self.best * (1 + self.threshold) if up else metric < self.best * (1 - self.threshold)
        self.best = metric if better else self.best
        self.bad = 0 if better or self.cooldown else self.bad + 1
        self.cooldown = max(0, self.cooldown - 1)
        if self.bad > self.patience_t:
            self.reductions += 1
            self.bad, self.cooldown = 0, self.cooldown_t

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up, or the group's lr after all reductions."""
        del k
        if t <= self.warmup_t and self.warmup_t:
            return self.warmup_lr_init + (lr - self.warmup_lr_init) * t / self.warmup_t
        if not self.reductions:
            return lr
        reduced = lr * self.decay_rate**self.reductions
        return reduced if float(reduced) > self.lr_min else self.lr_min
