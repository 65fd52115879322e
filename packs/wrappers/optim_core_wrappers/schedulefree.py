"""Schedule-free averaging around any method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from optim_core.catalog import Need
from optim_core.errors import NotTraining
from optim_core.methods import as_pairs, hyper, state
from optim_core.optimizers import parameters
from optim_core.rules import Inner, Level, Value, lerp, maximum, where
from optim_core.wrapping import RuleWrapper


class ScheduleFree(RuleWrapper):
    """Averaging in the place of a schedule, for any method: it takes the steps, an average of them is what is used.

    The base steps with a point z, with gradients taken at y; x is a weighted average of all z. With b = momentum::

        z = z - lr weight_decay_at_y y;   y = y (1 - lr weight_decay_at_y (1 - b))
        z = what the base makes of z
        w = k^r (largest lr so far)^weight_lr_power in the k-th step;   c = w / (sum of all w so far)
        x = (1 - c) x + c z;              y = b x + (1 - b) z

    The parameters hold y while training, and x after ``optimizer.eval()``, until ``optimizer.train()``; ``minimize``
    and ``step(closure)`` return to y by themselves, a bare ``step()`` raises until then. x is not stored: it follows
    from y and z. The base's own momentum should be 0, and its lr 1 to 10 times the usual, 10 to 50 times for SGD; no
    scheduler is needed. Decay in the base acts at z. ``schedulefreesgd`` and ``schedulefreeadamw`` are
    the authors' own methods. Of a base that finds its step size, such as prodigy, lr in the weights is d lr: the first
    steps, which hardly move, hardly count.

    Raises:
        NotTraining: by ``step()`` while the parameters hold the average.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = ScheduleFree(torch.optim.SGD([weight], lr=0.25))
        >>> losses = [float(optimizer.minimize(lambda: weight.square().sum())) for _ in range(50)]
        >>> optimizer.eval()
        >>> weight.square().sum().item() < 0.1 * losses[0]
        True

    Source: Defazio et al., The Road Less Scheduled, 2024, https://arxiv.org/abs/2405.15682; in the form of the authors'
    package, version 1.4.
    """

    elementwise: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"train_eval_mode"})
    of_base: ClassVar[tuple[str, ...]] = ("lr",)

    momentum: float = hyper(0.9, "b, share of x in y", gt=0, le=1)
    weight_decay_at_y: float = hyper(0.0, "decay computed at y, times lr", ge=0)
    r: float = hyper(0.0, "exponent of the count of steps in the weights of x", ge=0)
    weight_lr_power: float = hyper(2.0, "exponent of the largest lr in the weights of x", ge=0)

    z = state("the point that takes the steps", start="p")
    weight_sum = state("sum of the weights of x", level="tensor")
    lr_max = state("largest lr so far", level="tensor")
    k = state("steps so far", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        z: Value,
        weight_sum: Value,
        lr_max: Value,
        k: Value,
        *,
        lr: Value,
        momentum: float,
        weight_decay_at_y: float,
        r: float,
        weight_lr_power: float,
    ) -> tuple[Value, ...]:
        """The update above; p is y."""
        b = momentum
        if weight_decay_at_y:
            z, p = z - lr * weight_decay_at_y * p, p * (1 - lr * weight_decay_at_y * (1 - b))
        step = inner(z, g)
        d = step.states.get("d")
        k, lr_max = k + 1, maximum(lr_max, lr if d is None or d.level is not Level.WHOLE else d * lr)
        weight = k**r * lr_max**weight_lr_power
        weight_sum = weight_sum + weight
        c = where(weight_sum > 0, weight / where(weight_sum > 0, weight_sum, 1.0), 0.0)
        # y from x and z, written so that nothing moves where c and the step are zero
        return lerp(p, z, c) + (1 - b * (1 - c)) * step.since(z), step.p, weight_sum, lr_max, k

    # modes --------------------------------------------------------------------------------------------------
    def on_wrap(self) -> None:
        """Begin at y."""
        self.counters["averaged"] = 0
        super().on_wrap()

    def train(self) -> None:
        """Have the parameters hold y; without effect if they do."""
        self._turn(averaged=0)
        super().train()

    def eval(self) -> None:
        """Have the parameters hold x; without effect if they do."""
        super().eval()
        self._turn(averaged=1)

    @torch.no_grad()
    def _turn(self, averaged: int) -> None:
        if self.counters["averaged"] == averaged:
            return
        b = self.options["momentum"]
        for p in parameters(self):
            if "z" in self.memory[p]:
                here, z = as_pairs(p.detach(), p), as_pairs(self.memory[p]["z"], p)
                here.copy_(torch.lerp(here.to(z.dtype), z, 1 - 1 / b if averaged else 1 - b))
        self.counters["averaged"] = averaged

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave gradients at y."""
        self.train()
        return super().collect(run)

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse gradients that were taken at x."""
        if self.counters["averaged"]:
            raise NotTraining(
                f"{self.method.name}: step() after eval(): the parameters hold the average x, and the gradients are "
                "not those of the training point y. Call optimizer.train() before the forward pass, or use "
                "optimizer.minimize(closure)"
            )
        return super().prepare(overflow)
