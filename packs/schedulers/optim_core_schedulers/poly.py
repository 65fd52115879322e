"""Polynomial decay, and decay by an inverse power."""

from __future__ import annotations

from optim_core.methods import hyper
from optim_core_schedulers.schedule import Descent


class PolyScheduler(Descent):
    """Down as a power of the time that is left, or as an inverse power of the time that has passed.

    ::

        lr at step n, with t = n - 1, W warm-up and T total steps:
        init_lr + (max_lr - init_lr) t/W                                t < W
        power:       min_lr + (max_lr - min_lr) (1 - (t - W)/(T - W))^power    W <= t < T, and min_lr after it
        poly_order:  min_lr + (max_lr - min_lr) max(1, t - W)^poly_order       W <= t, without an end

    ``power`` is what most call polynomial decay: 1 is a line, 2 ends gently. ``poly_order`` <= 0 is that of the
    authors' code; -0.5, the default, is the inverse square root that transformers are trained with. It stays at the
    top for two steps, tends to ``min_lr`` without reaching it, and does not depend on ``total_steps``. (A port that
    asks for a positive order has rates that grow.) Warm-up, ``max_lr`` and the first step are as in
    :class:`CosineScheduler`.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = PolyScheduler(optimizer, total_steps=4, power=2.0)
        >>> for _ in range(5):
        ...     print(optimizer.param_groups[0]["lr"], end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 0.5625 0.25 0.0625 0.0

    Source: the code of Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, 2022,
    https://arxiv.org/abs/2203.08065; ``power`` as in torch's ``PolynomialLR``.
    """

    needs = frozenset({"total_steps"})

    total_steps: int | None = hyper(None, "steps of the whole schedule; power needs them", ge=1)
    power: float | None = hyper(None, "power of the share of the steps that is left", gt=0)
    poly_order: float | None = hyper(None, "power of the steps done; -0.5 if power is not given either", le=0)

    def check(self) -> None:
        """Refuse both powers at once, and a power without an end."""
        super().check()
        if self.power is not None and self.poly_order is not None:
            raise self.reject("power and poly_order are two different schedules: give one of them")
        if self.power is not None and self.total_steps is None:
            raise self.reject("power needs total_steps, at the end of which min_lr is reached")
        if self.total_steps is not None:
            self.check_length(self.total_steps)

    def share(self, t: int) -> float:
        """A power of what is left, or of what has passed."""
        if self.power is not None and self.total_steps is not None:
            return float(self.left(t, self.total_steps) ** self.power)
        return float(max(1, t) ** (-0.5 if self.poly_order is None else self.poly_order))
