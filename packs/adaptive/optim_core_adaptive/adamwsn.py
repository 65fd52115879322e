"""AdamWSN: AdamW with subset norms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Level, Value, lerp, root, sqrt, square, stacked
from optim_core_adaptive.subsets import subset_length


def _subsets(shape: tuple[int, ...], group: Any) -> tuple[int, ...]:
    """A number for each subset, where subsets have more than one element; otherwise as the parameter."""
    numel = math.prod(shape)
    length = subset_length(numel, group["subset_size"]) if group["sn"] else 1
    return shape if length == 1 else (numel // length, 1)


class AdamWSN(RuleOptimizer):
    """AdamW whose second moment is kept for subsets of elements, as one sum of squares each: half the memory.

    The elements, row by row, are cut into subsets of subset_size, or of sqrt(size)/k for subset_size = -k; if that is
    no divisor, of the next smaller one. With c1 = 1 - beta1^t and c2 = 1 - beta2^t (both 1 without correct_bias)::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) (sum of g^2 over the subset)
        p = p - lr sqrt(c2) / c1 m / (sqrt(v) + eps)
        p = p (1 - lr weight_decay)                          after the step

    A sum, so steps are shorter by the root of the subset's size: the authors take ten times AdamW's lr. They use
    subsets for the weights of linear layers alone: sn=False in a group makes its parameters Adam's. eps is added to the
    uncorrected root. betas[0] = 0 keeps no average of gradients. The heuristic finds no subset in parameters of fewer
    than four elements, where the authors' code divides by 0; these are Adam's, too. Ports have subset_size = -1.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
        >>> optimizer = AdamWSN([w], lr=0.1, subset_size=2)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.flatten().tolist()], optimizer.state[w]["exp_avg_sq"].shape
        ([0.955, -1.911, 2.94, -3.92], torch.Size([2, 1]))

    Source: Nguyen and Nguyen, Subset-Norm and Subspace-Momentum: Faster Memory-Efficient Adaptive Optimization with
    Convergence Guarantees, 2024, Algorithm 1, https://arxiv.org/abs/2411.07120; in the form of adamw_sng.py.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of sums of squares", ge=0, lt=1)
    eps: float = hyper(1e-6, "added to the uncorrected root", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay after the step, times lr", ge=0)
    correct_bias: bool = hyper(True, "correct the averages as Adam does")
    subset_size: int = hyper(-2, "elements that share a second moment; -k for sqrt(size)/k", ge=-1_000_000)
    sn: bool = hyper(True, "False: a second moment for each element")

    exp_avg = state("average of g", when=lambda group: group["betas"][0] > 0)
    exp_avg_sq = state("average of the sums of squares", shape=_subsets)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse subsets without elements."""
        del given
        if options["subset_size"] == 0:
            raise InvalidOption(f"{cls.__name__}: subset_size=0 is no size: give a number of elements, or -2, say")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value | None,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        correct_bias: bool,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        m = exp_avg = None if exp_avg is None else lerp(g, exp_avg, beta1)
        if exp_avg_sq.level is Level.OWN:
            exp_avg_sq, v = _averaged(exp_avg_sq, square(g), beta2=beta2)
        else:
            v = exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step if correct_bias else None
        a = lr if c2 is None else lr * sqrt(c2) / (1 - beta1**step)
        p = p - a * (g if m is None else m) / root(v, eps, c2, outside=True)
        return p * (1 - lr * weight_decay) if weight_decay else p, exp_avg, exp_avg_sq


@stacked("own", "element")
def _averaged(v: Tensor, q: Tensor, *, beta2: float) -> tuple[Tensor, Tensor]:
    """v with the sums of q, and the same for each element."""
    v = torch.lerp(q.reshape(*v.shape[:2], -1).sum(dim=2, keepdim=True), v, beta2)
    return v, v.expand(-1, -1, q[0].numel() // v.shape[1]).reshape(q.shape)
