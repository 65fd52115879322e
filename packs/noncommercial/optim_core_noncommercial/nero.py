"""Nero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.methods import as_pairs
from optim_core.rules import Value, centred, lerp, norm, root, square, where

#: ParameterSet of a neuron's norm below which what is left without the mean is rounding.
_ROUNDING = 1e-6


class Nero(RuleOptimizer):
    """Relative steps for each neuron, whose weights stay centred and of norm 1.

    A neuron is an index of axis 0, N the norm of each (of each element, for 0 and 1 dimensions)::

        v = beta v + (1 - beta) N(g)^2
        p = p - lr scale g / sqrt(v / (1 - beta^t))       no step where v = 0
        p = (p - mean(p)) / N(p - mean(p))                for each neuron, with constraints

    **The constructor changes the weights**: it brings neurons to mean 0 and norm 1, and then takes scale, the mean of
    N(p) for each tensor (0.01 if that is 0). So build it before the first forward pass; neurons that fulfil this
    already stay as they are, bit by bit. Parameters with a single weight a neuron cannot be centred and are left
    unconstrained, neurons of equal weights keep them until a gradient has changed that. The rows of embeddings and of
    2-dimensional normalisation layers are constrained too: give those groups ``constraints=False``. lr = 0 moves
    nothing. Clipping gradients has no effect.

    The authors' licence is CC-BY-NC-SA-4.0, for the algorithm too; this is written from the formulas.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[6.0, 0.0], [1.0, 2.0]]))
        >>> optimizer = Nero([w])
        >>> [[round(x, 3) for x in row] for row in w.tolist()]
        [[0.707, -0.707], [-0.707, 0.707]]

    Source: Liu et al., Learning by Turning: Neural Architecture Aware Optimisation, 2021, Algorithm 1,
    https://arxiv.org/abs/2102.07227.
    """

    lr: float = hyper(0.01, "step size, a share of a neuron's norm", ge=0, search=(1e-3, 1e-1))
    beta: float = hyper(0.999, "decay of the average of N(g) squared", ge=0, lt=1)
    constraints: bool = hyper(True, "keep neurons centred and of norm 1")

    exp_avg_sq = state("average of N(g) squared", level="row")
    scale = state("mean of N(p) at construction", level="tensor")

    @torch.no_grad()
    def on_group(self, group: dict[str, Any]) -> None:
        """Project the weights and take their scale."""
        for p in group["params"]:
            x = as_pairs(p, p)
            if group["constraints"] and p.ndim > 1 and p[:1].numel() > 1:
                x.copy_(_projected(x))
            scale = _neurons(x).norm(dim=1).mean() if x.numel() else torch.zeros((), device=x.device)
            self.set_state(p, scale=torch.where(scale == 0, 0.01, scale))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq: Value,
        scale: Value,
        *,
        lr: Value,
        beta: Value,
        constraints: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        exp_avg_sq = lerp(square(norm(g, over="row")), exp_avg_sq, beta)
        p_new = p - lr * scale * where(exp_avg_sq > 0, g / root(exp_avg_sq, None, 1 - beta**step), 0.0)
        if constraints and lr and p.ndim > 1 and p.row_size > 1:
            without_mean = centred(p_new, over="row")
            size = norm(without_mean, over="row")
            p_new = where(size > _ROUNDING * norm(p_new, over="row"), without_mean / size, p_new)
        return p_new, exp_avg_sq, scale


def _neurons(p: Tensor) -> Tensor:
    """One row for each neuron, in the type of computation."""
    return p.reshape(p.shape[0] if p.ndim else 1, -1).to(torch.promote_types(p.dtype, torch.float32))


def _projected(p: Tensor) -> Tensor:
    """The weights with every neuron centred and of norm 1, as far as that can be."""
    rows = _neurons(p)
    average = rows.mean(1, keepdim=True)
    centred = rows - average
    size, whole = centred.norm(dim=1, keepdim=True), rows.norm(dim=1, keepdim=True)
    nearly = 4 * torch.finfo(p.dtype).eps
    done = (average.abs() <= nearly) & ((whole - 1).abs() <= nearly)
    return torch.where(done | (size <= _ROUNDING * whole), rows, centred / size).reshape(p.shape)
