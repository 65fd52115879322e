"""Modes: methods whose parameters hold one point while they train, and another to be evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from optim_core.errors import NotTraining
from optim_core.optimizers.optimizer import RuleOptimizer


class Modes(RuleOptimizer):
    """Base of methods that train at one point and are evaluated at another, an average of some kind.

    The parameters hold one of the two:

    * the training point while :attr:`training`, as after construction: ``zero_grad``, ``backward``, ``step``;
    * the average after :meth:`eval`, until :meth:`train`. A ``step()`` in between would apply gradients of the wrong
      point, and raises. ``minimize(closure)`` and ``step(closure)`` evaluate the loss themselves, and go back first.

    So with ``minimize`` there is one thing to remember: ``optimizer.eval()`` before validating and saving. Statistics
    of batch normalisation belong to the training point: before validating, pass some batches through the model, with
    the optimizer in eval mode and the model in train mode. The mode is part of the state dict, and :meth:`explain`
    shows it. Moving there and back costs a rounding, which is not small for parameters of low precision.

    A subclass defines :meth:`turn`.
    """

    needs = frozenset({"train_eval_mode"})

    def turn(self, group: dict[str, Any], *, training: bool) -> None:
        """Have the parameters of a group, those that have states, hold the other point."""
        raise NotImplementedError

    @property
    def training(self) -> bool:
        """True if the parameters hold the training point, rather than the average."""
        return all(group["training"] for group in self.param_groups)

    def train(self) -> None:
        """Make the parameters hold the training point; no effect if they do already."""
        self._turn(training=True)

    def eval(self) -> None:
        """Make the parameters hold the average, to be validated, saved and used; no effect if they do already."""
        self._turn(training=False)

    def on_group(self, group: dict[str, Any]) -> None:
        """Join in the mode of the others: before its first step both points of a parameter are the same."""
        super().on_group(group)
        group["training"] = all(g.get("training", True) for g in self.param_groups)

    @torch.no_grad()
    def _turn(self, *, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] is not training:
                self.turn(group, training=training)
                group["training"] = training

    # stepping -----------------------------------------------------------------------------------------------
    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave gradients at the training point."""
        self.train()
        return super().collect(run)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients, which were taken at the training point.

        Args:
            closure: as for every torch optimizer; it is called at the training point.

        Raises:
            NotTraining: in eval mode, without a closure.
        """
        if closure is None:
            self._check_training()
        return super().step(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse gradients that were taken at the average."""
        self._check_training()
        return super().prepare(overflow)

    def _check_training(self) -> None:
        if not self.training:
            raise NotTraining(
                f"{self.method.name}: step() after eval(): the parameters hold the average, and so the gradients are "
                "not those of the training point. Call optimizer.train() before the forward pass, or use "
                "optimizer.minimize(closure), which returns there by itself"
            )
