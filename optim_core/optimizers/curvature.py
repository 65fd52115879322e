"""Hutchinson's estimate of the Hessian's diagonal, for methods that use curvature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.tensors import compute_dtype, real
from optim_core.errors import GraphMissing
from optim_core.methods.declarations import extra
from optim_core.optimizers.optimizer import RuleOptimizer


class HessianDiagonal(RuleOptimizer):
    """Base of methods whose rule takes ``hessian_diag``.

    For a random z with independent entries of mean 0 and variance 1, the expectation of z * (H z) is the diagonal of
    the Hessian H. H z comes from one differentiation of the gradients, over all parameters of all groups together.
    Every ``update_period``-th step takes an estimate, the first one included; in the others the rule gets None.

    A subclass declares the options ``update_period``, ``num_samples`` (draws averaged) and ``hessian_distribution``
    ("gaussian" or "rademacher"), each with ``common=True``.

    The gradients must carry a graph in the steps that take an estimate: ``minimize`` sees to it; in your own
    loop, ``loss.backward(create_graph=optimizer.needs_graph)``. The step releases the graphs. Gradients may be clipped
    before it: the estimate is that of the gradients as they were. With ``GradScaler`` the loss is scaled, and so is the
    graph of the gradients; the estimate is not, as long as ``scaler.step(optimizer)`` does the unscaling::

        scaler.scale(loss).backward(create_graph=optimizer.needs_graph)
        scaler.step(optimizer)
        scaler.update()

    Raises:
        GraphMissing: gradients carry no graph in a step that takes an estimate, or the graph of a loss whose scale is
            unknown, since ``scaler.unscale_`` has been called.
    """

    hessian_diag = extra("estimate of the Hessian's diagonal; None between two estimates")

    needs = frozenset({"create_graph"})
    random = True

    @property
    def needs_graph(self) -> bool:
        """True if the next step takes an estimate."""
        return self.whole_step % int(self.param_groups[0]["update_period"]) == 0

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Return the estimate, if one is due."""
        return {"hessian_diag": self.estimate(params)} if params and self.needs_graph else {}

    def estimate(self, params: Sequence[Tensor]) -> list[Tensor]:
        """Draw and differentiate.

        Args:
            params: those with a gradient.

        Returns:
            A tensor per parameter, of its shape (of its pairs of real numbers, if it is complex); zeros where the loss
            has no second derivative.
        """
        ascending = {p for group in self.param_groups if group["maximize"] for p in group["params"]}
        samples = int(self.param_groups[0]["num_samples"])
        scale = self._scale_of_graph()
        # half of it before and half after: in float16 the one would be too small, the other too large
        before = 2.0 ** -(math.frexp(math.sqrt(scale))[1] - 1)
        sums = [torch.zeros_like(real(p), dtype=compute_dtype(real(p))) for p in params]
        for _ in range(samples):
            draws = [self._draw(p) for p in params]
            products = _product(params, draws if scale == 1 else [before * z for z in draws])
            for p, x, z, hz in zip(params, sums, draws, products, strict=True):
                if hz is not None:
                    x.addcmul_(real(z).to(x.dtype), real(hz).to(x.dtype), value=-1 if p in ascending else 1)
        return [x / samples / (scale * before) for x in sums]

    #: GradScaler leaves gradients as they are then, and tells by which factor they and their graphs are scaled.
    _step_supports_amp_scaling = True
    _divided_by: Tensor | float | None

    def forget(self) -> None:
        """Begin with gradients that are not scaled."""
        super().forget()
        self._divided_by = 1.0

    def gradients_divided(self, by: Tensor | float | None) -> None:
        """Remember what the graphs of the gradients are still multiplied by."""
        self._divided_by = by

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients, as every method does."""
        try:
            return super().step(closure)
        finally:
            self._divided_by = 1.0

    def _scale_of_graph(self) -> float:
        """The factor of a GradScaler that the graphs of the gradients have."""
        scale = self._divided_by
        if getattr(self, "found_inf", None) is not None:  # GradScaler drives; it has a scale unless it has unscaled
            scale = getattr(self, "grad_scale", None)
        if scale is None:
            raise GraphMissing(
                f"{self.method.name} differentiates the gradients in this step, and scaler.unscale_(optimizer) has "
                "divided them, but not their graphs: leave it out, since scaler.step(optimizer) unscales; clip by "
                "optim_core.get_wrapper('clip') around the optimizer instead of by hand"
            )
        return float(scale)

    def _draw(self, p: Tensor) -> Tensor:
        generator = self.generator(p.device)
        z = torch.empty_like(real(p), device=generator.device, memory_format=torch.contiguous_format)
        if self.param_groups[0]["hessian_distribution"] == "rademacher":
            z.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
        else:
            z.normal_(generator=generator)
        z = z.to(p.device)
        return torch.view_as_complex(z) if p.is_complex() else z


def _product(params: Sequence[Tensor], z: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """H z; None for a parameter on which no gradient depends."""
    pairs = [(p.grad, x) for p, x in zip(params, z, strict=True) if p.grad is not None and p.grad.requires_grad]
    gradients, directions = zip(*pairs, strict=True)
    with torch.enable_grad():
        # the graph stays: another optimizer may share it
        return torch.autograd.grad(gradients, params, directions, retain_graph=True, allow_unused=True)
