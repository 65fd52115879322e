"""ScheduleFree: averaging instead of a schedule, for methods that provide a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.tensors import real
from optim_core.errors import NotTraining
from optim_core.methods.declarations import state
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules import Value, lerp, maximum, minimum, where


class ScheduleFree(RuleOptimizer):
    """Base of methods that train at one point, y, and are evaluated at another, x, the average of all steps.

    There are three sequences: z takes the steps, x is its weighted average, y lies between them. Gradients are taken at
    y; x is what is validated, saved and used. The parameters hold one of the two:

    * y while :attr:`training`, as after construction: ``zero_grad``, ``backward``, ``step``;
    * x after :meth:`eval`, until :meth:`train`. A ``step()`` in between would apply gradients of the wrong point, and
      raises. ``minimize(closure)`` and ``step(closure)`` evaluate the loss themselves, and return to y first.

    So with ``minimize`` there is one thing to remember: ``optimizer.eval()`` before validating and saving. Statistics
    of batch normalisation belong to y: before validating, pass some batches through the model, with the optimizer in
    eval mode and the model in train mode. The mode is part of the state dict, and :meth:`explain` shows it. Moving from
    y to x and back costs a rounding, which is not small for parameters of low precision.

    A subclass declares the options ``lr``, ``warmup_steps``, ``r`` and ``weight_lr_power``, defines
    :meth:`interpolation`, and passes its direction to :meth:`average` in its rule.
    """

    needs = frozenset({"train_eval_mode"})

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

    # modes --------------------------------------------------------------------------------------------------
    @property
    def training(self) -> bool:
        """True if the parameters hold y, the training point, rather than x."""
        return all(group["training"] for group in self.param_groups)

    def train(self) -> None:
        """Make the parameters hold y, the training point; no effect if they do already."""
        self._turn(training=True)

    def eval(self) -> None:
        """Make the parameters hold x, to be validated, saved and used; no effect if they do already."""
        self._turn(training=False)

    def on_group(self, group: dict[str, Any]) -> None:
        """Join in the mode of the others: before its first step a parameter's x, y and z are the same."""
        super().on_group(group)
        group["training"] = all(g.get("training", True) for g in self.param_groups)

    @torch.no_grad()
    def _turn(self, *, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] is training:
                continue
            b = self.interpolation(group)
            for p in group["params"]:
                z = self.state[p].get("z") if p in self.state else None
                if isinstance(z, Tensor):
                    here = real(p.detach())
                    here.copy_(torch.lerp(here.to(z.dtype), z, 1 - b if training else 1 - 1 / b))
            group["training"] = training

    # stepping -----------------------------------------------------------------------------------------------
    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave gradients at y."""
        self.train()
        return super().collect(run)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients, which were taken at y.

        Args:
            closure: as for every torch optimizer; it is called at y.

        Raises:
            NotTraining: in eval mode, without a closure.
        """
        if closure is None:
            self._check_training()
        return super().step(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse gradients that were taken at x."""
        self._check_training()
        return super().prepare(overflow)

    def _check_training(self) -> None:
        if not self.training:
            raise NotTraining(
                f"{self.method.name}: step() after eval(): the parameters hold the average x, and so the gradients are "
                "not those of the training point y. Call optimizer.train() before the forward pass, or use "
                "optimizer.minimize(closure), which returns to y by itself"
            )
