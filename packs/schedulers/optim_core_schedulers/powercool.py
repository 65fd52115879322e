"""A late cool-down along a power of the time left."""

from __future__ import annotations

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule, of_group


class PowerCool(Schedule):
    """The group's lr, and towards the end down as a power of the time left, from a step of its own if wanted.

    ::

        lr at step n = base (floor + (1 - floor) x^power),   x = min(1, max(0, (T - n + 1)/L))
        T = total_steps,  L = cooldown_steps

    With L = T it is a power decay over the whole run, and with power 1 a trapezoid without warm-up. The last step of T
    still has L^-power of the way left; records of modded-nanogpt stop well before it. One of them states the same
    curve as min(lr, C (T - t)^power); there the matrices cool for longer than the rest, which is a tuple of
    ``cooldown_steps`` here. After T the floor is held. For a warm-up put :class:`LinearWarmup` over it.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = PowerCool(optimizer, total_steps=6, cooldown_steps=4, power=1.5)
        >>> for _ in range(7):
        ...     print(round(optimizer.param_groups[0]["lr"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        1.0 1.0 1.0 0.65 0.354 0.125 0.0

    Source: the optimization benchmark of modded-nanogpt, result 20, https://github.com/KellerJordan/modded-nanogpt;
    the power decay of Optimal Learning-Rate Schedules under Functional Scaling Laws, 2026,
    https://arxiv.org/abs/2602.06797, is the case L = T.
    """

    needs = frozenset({"total_steps"})

    total_steps: int = hyper(REQUIRED, "T, the step at which the curve reaches its end", ge=1)
    cooldown_steps: float | tuple[float, ...] = hyper(REQUIRED, "L, length of the cool-down; may differ by group", gt=0)
    power: float = hyper(1.2, "power of the share of the cool-down that is left", gt=0)
    floor: float = hyper(0.0, "share of the lr that is left at the end", ge=0, le=1)

    def check(self) -> None:
        """Refuse a cool-down that is longer than the whole."""
        super().check()
        for k in range(len(self.optimizer.param_groups)):
            if of_group(self.cooldown_steps, k) > self.total_steps:
                raise self.reject(
                    f"cooldown_steps={of_group(self.cooldown_steps, k):g} are more than total_steps={self.total_steps}"
                )

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """A power of what is left."""
        left: float = min(1.0, max(0.0, (self.total_steps - t) / of_group(self.cooldown_steps, k)))
        share: float = left**self.power
        return lr * (self.floor + (1 - self.floor) * share)
