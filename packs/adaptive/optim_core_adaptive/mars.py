"""MARS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, lerp, maximum, norm, root, second_moment, sign, square, stacked

_QUINTIC = (3.4445, -4.7750, 2.0315)


def _in_mars(shape: tuple[int, ...], group: Mapping[str, Any]) -> bool:
    return len(shape) == 2 or group["optimize_1d"]


def _last_grad(shape: tuple[int, ...], group: Mapping[str, Any]) -> tuple[int, ...] | None:
    return shape if _in_mars(shape, group) else None


def _squares(shape: tuple[int, ...], group: Mapping[str, Any]) -> tuple[int, ...] | None:
    signs, matrices = group["mars_type"] == "mars-lion", group["mars_type"] == "mars-shampoo" and len(shape) == 2
    return None if _in_mars(shape, group) and (signs or matrices) else shape


def _largest_squares(shape: tuple[int, ...], group: Mapping[str, Any]) -> tuple[int, ...] | None:
    return _squares(shape, group) if group["amsgrad"] and _in_mars(shape, group) else None


class MARS(RuleOptimizer):
    """Adam, Lion or Muon on gradients that the change since the last step corrects: less variance.

    For matrices, and with optimize_1d for all; l is the gradient of the step before, 0 at first::

        c = g + gamma beta1 / (1 - beta1) (g - l)
        c = c / max(1, ||c||)                       the norm of a tensor
        m = beta1 m + (1 - beta1) c
        v = beta2 v + (1 - beta2) c^2               amsgrad: the denominator takes the largest v so far
        u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)      mars-adamw; mars-shampoo but for matrices
        u = sign(m)                                                  mars-lion
        u = sqrt(max(1, rows/columns)) NS(m / (1 - beta1))           mars-shampoo, NS being Muon's iteration
        p = p (1 - lr weight_decay) - lr u

    Everything that has not exactly two dimensions, convolutions included, gets AdamW with betas_1d, weight_decay_1d and
    lr_1d, which is meant beside the lr given with it and follows its schedule: lr times ratio_1d = lr_1d/lr.
    pytorch-optimizer takes what has two dimensions and more. **Without more words decay is 0 for matrices and 0.1 for
    the rest**, as in the authors' code.

    In the first step c is 1 + gamma beta1 / (1 - beta1) times g, as in the code; the paper has g itself. Not here is
    its exact form (is_approx=False), whose l is the gradient of the last batch at the present weights.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
        >>> loss = MARS([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.flatten().tolist()]
        [0.9, -1.9]

    Source: Yuan et al., MARS: Unleashing the Power of Variance Reduction for Training Large Models, 2024, Algorithms 2
    to 4, https://arxiv.org/abs/2411.10438; the part for other shapes as in the authors' code.
    """

    lr: float = hyper(3e-3, "step size", ge=0, search=(3e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.95, 0.99), "decay of the averages of c and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root, and to the norm in NS", ge=0)
    weight_decay: float = hyper(0.0, "decoupled decay of matrices, times lr", ge=0)
    amsgrad: bool = hyper(False, "divide by the root of the largest v so far")
    gamma: float = hyper(0.025, "strength of the correction", ge=0)
    mars_type: str = hyper(
        "mars-adamw", "what is made of corrected gradients", choices=("mars-adamw", "mars-lion", "mars-shampoo")
    )
    optimize_1d: bool = hyper(False, "correct the gradients of other shapes, too")
    lr_1d: float = hyper(3e-3, "AdamW's step size for them, beside the lr given", ge=0)
    betas_1d: tuple[float, float] = hyper((0.9, 0.95), "AdamW's decay of averages", ge=0, lt=1)
    weight_decay_1d: float = hyper(0.1, "AdamW's decoupled decay, times its step size", ge=0)
    ns_dtype: str = hyper("bfloat16", "precision of NS", choices=("bfloat16", "float32", "float64"))
    ratio_1d: float | None = hyper(None, "AdamW's step size over lr, None for lr_1d/lr", ge=0)

    exp_avg = state("average of c, or of g")
    exp_avg_sq = state("average of its square", shape=_squares)
    max_exp_avg_sq = state("largest exp_avg_sq so far", shape=_largest_squares)
    last_grad = state("g of the step before", shape=_last_grad)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Keep the proportion of the two step sizes."""
        keeps = options["ratio_1d"] is not None and ("ratio_1d" in given or not given & {"lr", "lr_1d"})
        if keeps or not float(options["lr"]):
            return options
        return options | {"ratio_1d": float(options["lr_1d"]) / float(options["lr"])}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value | None,
        max_exp_avg_sq: Value | None,
        last_grad: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        gamma: Value,
        mars_type: str,
        betas_1d: tuple[Value, Value],
        weight_decay_1d: Value,
        ns_dtype: str,
        ratio_1d: Value | None,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        c = g
        if last_grad is None:
            betas, weight_decay = betas_1d, weight_decay_1d
            lr = lr if ratio_1d is None else gain(lr * ratio_1d, ratio_1d)
        else:
            c = g + gamma * betas[0] / (1 - betas[0]) * (g - last_grad)
            shorter = maximum(1.0, norm(c))
            c = gain(c / shorter, 1 / shorter)
        beta1, beta2 = betas
        exp_avg = lerp(c, exp_avg, beta1)
        if exp_avg_sq is not None:
            v = exp_avg_sq = lerp(square(c), exp_avg_sq, beta2)
            if max_exp_avg_sq is not None:
                v = max_exp_avg_sq = maximum(max_exp_avg_sq, v)
            c2 = 1 - beta2**step
            u = exp_avg / (1 - beta1**step) / root(second_moment(v, c2), eps, c2)
        elif mars_type == "mars-lion":
            u = sign(exp_avg)
        else:
            m = exp_avg / (1 - beta1)
            u = _orthogonal(m / (norm(m) + eps), dtype=ns_dtype)
        p = p - lr * (weight_decay * p + u)
        return p, exp_avg, exp_avg_sq, max_exp_avg_sq, None if last_grad is None else g


@stacked("element")
def _orthogonal(X: Tensor, *, dtype: str) -> Tensor:
    """Five steps towards the nearest orthogonal matrix, in the rows' or the columns' space, whichever is smaller."""
    tall = X.shape[1] > X.shape[2]
    M = (X.mT if tall else X).to(getattr(torch, dtype))
    a, b, c = _QUINTIC
    for _ in range(5):
        A = M @ M.mT
        B = A @ M
        M = a * M + b * B + c * (A @ B)
    longer: float = max(1.0, X.shape[1] / X.shape[2]) ** 0.5
    return (M.mT if tall else M).to(X.dtype) * longer
