"""Sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optim_core.closures import parameters
from optim_core.declarations import hyper
from optim_core.errors import ClosureError
from optim_core.wrapper import Wrapper


class SAM(Wrapper):
    r"""Descends with the gradient taken at the worst point nearby.

    .. math:: \epsilon = \rho\, g / \lVert g \rVert, \qquad \text{base step with } \nabla L(w + \epsilon)

    The norm is over all parameters of all groups. Weights are put back by copying, so nothing of the excursion
    remains. Gradients are evaluated twice a step: ``minimize(closure)`` and ``step(closure)`` do both; by hand::

        loss.backward()
        optimizer.first_step()      # to w + epsilon
        loss_function(...).backward()
        optimizer.second_step()     # back to w, and the base's step

    Batch normalisation sees both evaluations. A parameter group may have a ``rho`` of its own.

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
        """Start without an excursion."""
        super().wrapped()
        self._kept: dict[Tensor, Tensor] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._kept = {}

    @property
    def needs_closure(self) -> bool:
        """Always: the second evaluation is part of the step."""
        return True

    def collect(self, run: Callable[[], Any]) -> Any:
        """The loss here, the gradients there."""
        loss = super().collect(run)
        self._move()
        try:
            super().collect(run)
        finally:
            self._return()
        return loss

    @torch.no_grad()
    def first_step(self, *, zero_grad: bool = True) -> None:
        """Move to the worst point nearby, by the gradients at hand.

        Raises:
            ClosureError: the weights are there already.
        """
        if self._kept:
            raise ClosureError(
                "SAM.first_step() was called twice: call backward() at the new weights, then second_step()"
            )
        self._move()
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
        self.apply()

    def _scaled(self, x: Tensor, p: Tensor) -> Tensor:
        return x * p.abs() if self.options["adaptive"] else x

    @torch.no_grad()
    def _move(self) -> None:
        directions = {p: self._scaled(p.grad, p) for p in parameters(self) if p.grad is not None}
        if not directions:
            return
        device = next(iter(directions)).device
        # a norm of norms: one number over all parameters, wherever they are
        norms = [torch.linalg.vector_norm(d).to(device) for d in directions.values()]
        norm = torch.linalg.vector_norm(torch.stack(norms)) + self.options["perturb_eps"]
        for group in self.param_groups:
            rho = group.get("rho", self.options["rho"])
            for p in group["params"]:
                if p in directions:
                    self._kept[p] = p.detach().clone()
                    p.add_(self._scaled(directions[p], p) * (rho / norm).to(p.device))

    @torch.no_grad()
    def _return(self) -> None:
        for p, w in self._kept.items():
            p.copy_(w)
        self._kept = {}
