"""Base of the methods whose step follows from the value of the loss."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, state
from optim_core.errors import LossMissing
from optim_core.methods import store_whole
from optim_core.optimizers import Evaluations, count_passes, mean_over_ranks


class ByLoss(RuleOptimizer):
    """Base of the methods whose rule takes ``loss``, that of the gradients at hand.

    ``minimize(closure)`` and ``step(closure)`` know it, ``step()`` alone cannot be taken. (In ``step(closure)`` the
    closure may also do no more than return the loss of the gradients at hand.) It has to be that of these gradients,
    without the factor of a GradScaler. Where ranks train together (DDP, FSDP) the gradients are those of the mean of
    their losses, and so the loss is that mean; ``optimizer.process_group`` is the group, or None if each rank trains by
    itself.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.
    """

    loss = state("loss of the step", level="whole")

    needs = frozenset({"loss"})

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        self._evaluated: Any = None

    def on_group(self, group: dict[str, Any]) -> None:
        """Count what accumulates in gradients."""
        super().on_group(group)
        count_passes(group["params"])

    def collect(self, run: Callable[[], Any]) -> Any:
        """As everywhere; the loss is kept for the step."""
        self._evaluated = None  # an evaluation that fails leaves none
        inner = super().collect
        evaluations = Evaluations(self, lambda: inner(run), self.method.name)
        loss = evaluations.first(may_rest=True)
        # a closure that does not zero the gradients has added to those of others, whose losses were like this one
        several = evaluations.passes != 1 and isinstance(loss, (Real, Tensor))
        self._evaluated = loss * evaluations.passes if several else loss
        return loss

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients and the loss."""
        given = None
        if closure is not None:
            with torch.enable_grad():
                given = self.collect(closure)
        loss, self._evaluated = self._evaluated, None
        if not isinstance(loss, Real) and not (isinstance(loss, Tensor) and loss.numel() == 1):
            what = "was called without it" if closure is None and loss is None else f"got {loss!r} from its closure"
            raise LossMissing(
                f"{self.method.name} needs the value of the loss for its step size, but step() {what}: use "
                "optimizer.minimize(closure), or step(closure) with a closure that returns the loss"
            )
        device = self.param_groups[0]["params"][0].device
        self.set_whole("loss", mean_over_ranks(store_whole(loss, device), self))
        super().step()
        return given
