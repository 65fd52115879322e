"""ScheduleFreeSGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core import hyper
from optim_core.optimizers import ScheduleFree
from optim_core.rules import Value


class ScheduleFreeSGD(ScheduleFree):
    """SGD without a schedule: an average of all steps takes its place, and that of the momentum.

    With b = momentum and g taken at y::

        u = g + weight_decay y
        a = lr min(1, t / warmup_steps)
        w = t^r (largest a so far)^weight_lr_power;   c = w / (sum of all w so far)
        z = z - a u
        x = (1 - c) x + c z
        y = b x + (1 - b) z

    Train at y, validate and save at x: call ``optimizer.eval()`` before, and ``optimizer.train()`` after; ``minimize``
    goes back to training by itself, ``step()`` raises until then. It starts in train mode; the authors' package starts
    in eval mode. x is not stored, it follows from y and z.

    lr is 10 to 50 times that of SGD with momentum under a schedule; a warm-up helps, and for very long runs b = 0.95 to
    0.98. b does not smooth gradients, it says where between z and x they are taken: near 0 that is at z, as in plain
    SGD. No scheduler is needed, and one that lowers lr does not lower the weights of new steps in x. Each parameter has
    its own count and weights, so that one which joins late starts its average then (in the authors' code it joins its
    group's).

    Raises:
        NotTraining: by step(), in eval mode.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = ScheduleFreeSGD([w], lr=0.25)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> optimizer.eval()  # now w holds x
        >>> w.square().sum().item() < 0.1 * losses[0], optimizer.training
        (True, False)

    Source: Defazio et al., The Road Less Scheduled, 2024, https://arxiv.org/abs/2405.15682; in the
    form of the authors' package, version 1.4.
    """

    lr: float = hyper(1.0, "step size", ge=0, search=(0.1, 5.0))
    momentum: float = hyper(0.9, "b, share of x in y", gt=0, lt=1)
    weight_decay: float = hyper(0.0, "decay, added to the gradient at y", ge=0)
    warmup_steps: int = hyper(0, "steps over which the step size rises to lr", ge=0)
    r: float = hyper(0.0, "exponent of the step count in the weights of x", ge=0)
    weight_lr_power: float = hyper(2.0, "exponent of the largest step size in the weights of x", ge=0)

    @classmethod
    def interpolation(cls, group: Mapping[str, Any]) -> float:
        """The option momentum."""
        return float(group["momentum"])

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        z: Value,
        weight_sum: Value,
        lr_max: Value,
        *,
        lr: Value,
        momentum: Value,
        weight_decay: Value,
        warmup_steps: Value,
        r: Value,
        weight_lr_power: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above; p is y."""
        return ScheduleFree.average(
            p,
            z,
            g + weight_decay * p if weight_decay else g,
            weight_sum,
            lr_max,
            b=momentum,
            lr=lr,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            step=step,
        )
