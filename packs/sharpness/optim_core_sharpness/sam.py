"""Sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optim_core.closures import check_dense, parameters
from optim_core.declarations import hyper
from optim_core.errors import ClosureError, WrapperConflict
from optim_core.optimizer import RuleOptimizer
from optim_core.update import compute_dtype, real
from optim_core.wrapper import Wrapper, collected


class SAM(Wrapper):
    r"""Descends with the gradient taken at the worst point nearby.

    .. math:: \epsilon = \rho\, g / \lVert g \rVert, \qquad \text{base step with } \nabla L(w + \epsilon)

    The norm is over all parameters of all groups. Weights are put back by copying, so nothing of the excursion
    remains. Gradients are evaluated twice a step: ``minimize(closure)`` and ``step(closure)`` do both; by hand::

        loss.backward()
        optimizer.first_step()      # to w + epsilon
        loss_function(...).backward()
        optimizer.second_step()     # back to w, and the base's step

    Batch normalisation sees both evaluations. A parameter group may have a ``rho`` of its own, unless the base has
    an option of that name.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = SAM(torch.optim.SGD([weight], lr=0.25), rho=1.0)
        >>> optimizer.minimize(lambda: weight.square().sum()).item()
        1.0
        >>> weight.item()  # the gradient at 2 is 4
        0.0

    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, 2020,
    https://arxiv.org/abs/2010.01412, equation 2; ``adaptive`` is ASAM's scaling by \|w\|.
    """

    rho: float = hyper(0.05, "radius of the excursion", ge=0, search=(0.01, 0.5))
    adaptive: bool = hyper(False, "scale the excursion by the size of each weight")
    perturb_eps: float = hyper(1e-12, "added to the norm", ge=0)

    def wrapped(self) -> None:
        """Start without an excursion.

        Raises:
            WrapperConflict: the base differentiates the gradients, whose graph ends with the excursion.
        """
        super().wrapped()
        self._kept: dict[Tensor, Tensor] = {}
        inside = type(self.innermost)
        if issubclass(inside, RuleOptimizer) and inside.needs_graph is not RuleOptimizer.needs_graph:
            raise WrapperConflict(
                f"SAM cannot go around {inside.__name__}, which differentiates the gradients after the "
                "weights have moved back; use a first-order method such as adamw"
            )

    def added(self, group: dict[str, Any]) -> None:
        """Check the group's own radius."""
        super().added(group)
        self._rho(group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._kept = {}

    @property
    def needs_closure(self) -> bool:
        """Always: the second evaluation is part of the step."""
        return True

    def collect(self, run: Callable[[], Any]) -> Any:
        """The loss here, the gradients there."""
        self._check_at_home()
        loss = super().collect(run)
        try:
            self._move()
            super().collect(run)
        finally:
            self._return()
        return loss

    @torch.no_grad()
    def first_step(self, *, zero_grad: bool = True) -> None:
        """Move to the worst point nearby, by the gradients at hand.

        Raises:
            ClosureError: the weights are there already, or there is no gradient.
        """
        self._check_at_home()
        self._move()
        if not self._kept:
            raise ClosureError("SAM.first_step() found no gradients: call backward() before it")
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        """Return to the weights and let the base step with the gradients of the second evaluation.

        Raises:
            ClosureError: there was no first step.
        """
        if not self._kept:
            raise ClosureError("SAM.second_step() comes after first_step() and a second backward()")
        self._return()
        self.step(collected)

    def _check_at_home(self) -> None:
        if self._kept:
            raise ClosureError(
                "SAM.first_step() has moved the weights: call backward() at the new ones, then second_step()"
            )

    def _rho(self, group: dict[str, Any]) -> Any:
        if "rho" in self.defaults:  # the base's own (Adadelta's, Sophia's)
            return self.options["rho"]
        return self.hypers["rho"].check(group.get("rho", self.options["rho"]), "SAM, in a parameter group")

    def _scaled(self, x: Tensor, p: Tensor) -> Tensor:
        return x * p.abs() if self.options["adaptive"] else x

    @torch.no_grad()
    def _move(self) -> None:
        for p in parameters(self):
            check_dense(p, "SAM")
        directions = {p: self._scaled(p.grad, p) for p in parameters(self) if p.grad is not None}
        if not directions:
            return
        device = next(iter(directions)).device
        # a norm of norms: one number over all parameters, wherever they are
        parts = [real(d) for d in directions.values()]
        norms = [torch.linalg.vector_norm(x, dtype=compute_dtype(x)).to(device) for x in parts]
        norm = torch.linalg.vector_norm(torch.stack(norms)) + self.options["perturb_eps"]
        for group in self.param_groups:
            rho = self._rho(group)
            for p in group["params"]:
                if p in directions:
                    self._kept[p] = p.detach().clone()
                    p.add_(self._scaled(directions[p], p) * (rho / norm).to(p.device))

    @torch.no_grad()
    def _return(self) -> None:
        for p, w in self._kept.items():
            p.copy_(w)
        self._kept = {}
