"""ASGD: adaptive gradient descent without descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, extra, hyper, state
from optim_core.catalog import Need
from optim_core.errors import ClosureError
from optim_core.optimizers import Evaluations, GlobalStreams, combined, count_passes, parameters, put, taken
from optim_core.rules import Value, minimum, sqrt, square, total, where


class ASGD(RuleOptimizer):
    """Adaptive gradient descent: a step size from the curvature that the last step met, without a line search.

    **torch.optim.ASGD, averaged SGD, is another method:** ``optim_core.get("torch:asgd")``.

    x is the point and x' the one of the step before, g and g' their gradients on the present batch, | | norms over all
    parameters of all groups; the step size is a = lr for the start, its growth theta an option::

        a' = a sqrt(1 + amplifier theta)                             cautious growth
        a' = min(a', |x - x'| / (damping |g - g'|)) + eps            if neither norm is 0
        theta = a' / a
        x = x - a' (g + weight_decay x)

    Two gradients a step, so ``minimize(closure)`` or ``step(closure)``; both see the same random numbers, but batch
    normalisation sees two batches. With consecutive=True g' is the gradient of the step before, and ``step()`` is
    enough: right for deterministic losses, while the noise of batches passes for curvature and makes the step collapse.
    The paper's deterministic method has amplifier=1, damping=2, eps=0 and a tiny lr.

    The authors' class keeps a in each group's lr, where a scheduler overwrites it. Here lr is yours, the step size is
    lr times a factor found for the model as a whole, and groups differ as their lr do. A group with lr = 0 stands still
    and counts for nothing. pytorch-optimizer's ASGD compares differences of norms, not norms of differences.

    Raises:
        ClosureError: in a step without a closure, unless consecutive.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = ASGD([w], lr=0.01, amplifier=1.0, damping=2.0, eps=0.0)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(20)]
        >>> losses[-1] < 1e-3 * losses[0]
        True

    Source: Malitsky and Mishchenko, Adaptive Gradient Descent without Descent, 2019, Algorithm 1 and its stochastic
    form, https://arxiv.org/abs/1910.09529; eps and amplifier as in the authors' code.
    """

    lr: float = hyper(0.2, "first step size; later a factor on the one found", ge=0, search=(1e-3, 1.0))
    amplifier: float = hyper(0.02, "how fast the step size may grow", ge=0, common=True)
    theta: float = hyper(1.0, "first ratio of two step sizes", ge=0, common=True)
    damping: float = hyper(1.0, "divides the step size that curvature allows", gt=0, common=True)
    eps: float = hyper(1e-5, "added to the step size that curvature allows", ge=0, common=True)
    weight_decay: float = hyper(0.0, "L2 coefficient, added to the gradient after the norms", ge=0)
    consecutive: bool = hyper(False, "take g' from the step before, of another batch: one gradient a step", common=True)

    grad_change = extra("g - g', on the present batch; None in the first step and if consecutive")
    prev_param = state("x'", start="p")
    prev_grad = state("g'", when="consecutive")
    scale = state("step size, in units of lr", level="whole", start=1.0)
    ratio = state("theta", level="whole", start="theta")

    needs = frozenset({"closure"})

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        self._before: Mapping[Tensor, Tensor] | None = None

    def on_group(self, group: dict[str, Any]) -> None:
        """Count what accumulates in gradients."""
        super().on_group(group)
        count_passes(group["params"])

    def needs_in_force(self) -> frozenset[Need]:
        """No closure, if the gradient to compare with is that of the step before."""
        return frozenset() if self.param_groups[0]["consecutive"] else self.needs

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients here and before."""
        if closure is None and self.needs_closure and self._before is None:
            raise ClosureError(
                f"{self.method.name} evaluates the loss twice a step: use optimizer.minimize(closure), or "
                "step(closure) with a closure that zeroes the gradients, computes the loss and calls backward; or give "
                "it consecutive=True"
            )
        loss = super().step(closure)
        self._before = None
        return loss

    def collect(self, run: Callable[[], Any]) -> Any:
        """The gradients at the point before, to be compared with, and those here."""
        self._before = None  # an evaluation that fails leaves none
        self.follow_parameters()
        inner = super().collect
        evaluations = Evaluations(self, lambda: inner(run), self.method.name)
        before: dict[Tensor, Tensor] = {}
        known = [p for p in parameters(self) if "prev_param" in self.state.get(p, {})]
        if known and self.needs_closure:
            here = [p.detach().clone() for p in known]
            streams = GlobalStreams(known)
            try:
                _put(known, [self.state[p]["prev_param"] for p in known])
                earlier = taken(self)
                with streams.again():
                    evaluations.alone()
                before = {p: p.grad.detach().clone() for p in parameters(self) if p.grad is not None}
            finally:
                _put(known, here)
            put(self, earlier)
        loss = evaluations.first() if self.needs_closure else inner(run)
        if before and evaluations.passes != 1:
            with streams.again():
                before = self._of_all(before, evaluations)
        self._before = before
        return loss

    def _of_all(self, before: dict[Tensor, Tensor], evaluations: Evaluations) -> dict[Tensor, Tensor]:
        """The gradients at the point before for all that have accumulated, of which one evaluation has been made.

        G here is a sum of n backward passes, g the last one's, g' the same at the point before: G - n (g - g'), so that
        the last micro-batch stands for the change of all.
        """
        everything = taken(self)
        evaluations.alone()
        changes = combined(taken(self), [before.get(p) for p in parameters(self)], -1)
        put(self, everything)
        then = combined(everything, changes, -evaluations.passes)
        return {p: g for p, g in zip(parameters(self), then, strict=True) if g is not None}

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The change of the gradients."""
        if not self._before:
            return {}
        gradients = {p: p.grad.detach() for p in params if p.grad is not None}
        return {"grad_change": [g - self._before[p] if p in self._before else g for p, g in gradients.items()]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        grad_change: Value | None,
        prev_param: Value,
        prev_grad: Value,
        scale: Value,
        ratio: Value,
        *,
        lr: Value,
        amplifier: Value,
        damping: Value,
        eps: Value,
        weight_decay: Value,
        consecutive: bool,
        first: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not largest_lr:
            return p, prev_param, prev_grad, scale, ratio
        change = g - prev_grad if consecutive and not first else grad_change
        moved = sqrt(total(square(p - prev_param) if lr else 0 * p))
        changed = sqrt(total(square(change) if lr and change is not None else 0 * p))
        growth = scale * sqrt(1 + amplifier * ratio)
        allowed = minimum(growth, moved / (damping * changed) / largest_lr) + eps / largest_lr
        new_scale = where((moved > 0) & (changed > 0), allowed, growth)
        return p - lr * new_scale * (g + weight_decay * p), p, g, new_scale, new_scale / scale


@torch.no_grad()
def _put(params: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for p, x in zip(params, values, strict=True):
        (torch.view_as_real(p) if p.is_complex() and not x.is_complex() else p).copy_(x)
