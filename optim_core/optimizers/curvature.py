"""Hutchinson's estimate of the Hessian's diagonal, for methods that use curvature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.engines.tensors import compute_dtype, real
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
    before it: the estimate is that of the gradients as they were. ``GradScaler`` would scale the estimate, so use
    bfloat16 instead.
    """

    hessian_diag = extra("estimate of the Hessian's diagonal; None between two estimates")

    needs = frozenset({"create_graph"})

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
        sums = [torch.zeros_like(real(p), dtype=compute_dtype(real(p))) for p in params]
        for _ in range(samples):
            draws = [self._draw(p) for p in params]
            for p, x, z, hz in zip(params, sums, draws, _product(params, draws), strict=True):
                if hz is not None:
                    x.addcmul_(real(z).to(x.dtype), real(hz).to(x.dtype), value=-1 if p in ascending else 1)
        return [x / samples for x in sums]

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
