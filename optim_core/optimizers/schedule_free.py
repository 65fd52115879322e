"""ScheduleFree: averaging instead of a schedule, for methods that provide a direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.tensors import real
from optim_core.methods.declarations import state
from optim_core.optimizers.modes import Modes
from optim_core.rules import Value, lerp, maximum, minimum, where


class ScheduleFree(Modes):
    """Base of methods that train at one point, y, and are evaluated at another, x, the average of all steps.

    There are three sequences: z takes the steps, x is its weighted average, y lies between them. Gradients are taken at
    y; x is what is validated, saved and used. x is not stored, it follows from y and z.

    A subclass declares the options ``lr``, ``warmup_steps``, ``r`` and ``weight_lr_power``, defines
    :meth:`interpolation`, and passes its direction to :meth:`average` in its rule.
    """

    z = state("the point that takes the steps", start="p")
    weight_sum = state("sum of the weights of x", level="tensor")
    lr_max = state("largest step size so far", level="tensor")

    @classmethod
    def interpolation(cls, group: Mapping[str, Any]) -> float:
        """Return b of y = b x + (1 - b) z."""
        raise NotImplementedError

    @staticmethod
    def average(
        y: Value,
        z: Value,
        direction: Value,
        weight_sum: Value,
        lr_max: Value,
        *,
        b: Value,
        lr: Value,
        warmup_steps: Value,
        r: Value,
        weight_lr_power: Value,
        step: Value,
    ) -> tuple[Value, Value, Value, Value]:
        """Return the new y, z, weight_sum and lr_max.

        With u the direction::

            a = lr min(1, t / warmup_steps)
            w = t^r (largest a so far)^weight_lr_power;   c = w / (sum of all w so far)
            z' = z - a u
            x' = (1 - c) x + c z'
            y' = b x' + (1 - b) z'  =  (1 - c) y + c z + a (b (1 - c) - 1) u
        """
        a = lr * minimum(1.0, step / warmup_steps) if warmup_steps else lr
        lr_max = maximum(lr_max, a)
        weight = step**r * lr_max**weight_lr_power
        weight_sum = weight_sum + weight
        c = where(weight_sum > 0, weight / weight_sum, 0.0)
        return lerp(y, z, c) + a * (b * (1 - c) - 1) * direction, z - a * direction, weight_sum, lr_max

    def turn(self, group: dict[str, Any], *, training: bool) -> None:
        """From x to y or back: x follows from y and z."""
        b = self.interpolation(group)
        for p in group["params"]:
            z = self.state[p].get("z") if p in self.state else None
            if isinstance(z, Tensor):
                here = real(p.detach())
                here.copy_(torch.lerp(here.to(z.dtype), z, 1 - b if training else 1 - 1 / b))
