"""SOAP."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optim_core import hyper, state
from optim_core.methods import in_blocks
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, lerp, mean, root, sqrt, square, stacked
from optim_core_second_order.rotation import View, averaged, eigenvectors, permuted, rot, squares, unrot


class SOAP(RuleOptimizer):
    """Adam in the slowly turning basis in which Shampoo's matrices are diagonal.

    G_i is the gradient with axis i in front and the others flattened; rot(x) applies Q_i^T along every axis, unrot(x)
    Q_i; t counts from 0, and the gradient of t = 0 only starts GG and Q (its eigenvectors): p stays where it is::

        GG_i = b GG_i + (1 - b) G_i G_i^T                     b is shampoo_beta, or beta2 if that is negative
        m = beta1 m + (1 - beta1) rot(g)
        v = beta2 v + (1 - beta2) rot(g)^2
        p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) unrot(m / (sqrt(v) + eps))
        p = p (1 - lr weight_decay)
        Q_i = QR(GG_i Q_i)                                    every precondition_frequency steps

    Before the QR the columns of Q_i, and v with them, are put in the order of the diagonal of Q_i^T GG_i Q_i; m is
    turned into the new basis. Tensors of one dimension are not rotated, unless ``precondition_1d``; nor are axes longer
    than ``max_precond_dim``. With ``merge_dims`` neighbouring axes are first merged while they stay below it.
    ``normalize_grads`` divides the update by its root mean square.

    A parameter that gets its first gradient late begins then. The first gradients rarely fill a Gram matrix; in what
    they leave out the basis is arbitrary, so that two machines may well part there. The authors' code takes
    eigenvectors in float32 whatever the parameters are.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = SOAP([w], lr=0.1, weight_decay=0.0)
        >>> [round(float(optimizer.minimize(lambda: w.square().sum())), 3) for _ in range(3)]
        [2.0, 2.0, 1.62]

    Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024, Algorithm 3,
    https://arxiv.org/abs/2409.11321; skipped first step and decay after the update as in the authors' code.
    """

    blocks: str | None = in_blocks()
    lr: float = hyper(3e-3, "step size", ge=0, search=(3e-4, 3e-2))
    betas: tuple[float, float] = hyper((0.95, 0.95), "decay of the averages of rot(g) and of its square", ge=0, lt=1)
    shampoo_beta: float = hyper(-1.0, "decay of the Gram matrices, negative for beta2", ge=-1, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.01, "decoupled decay, times lr, after the update", ge=0)
    precondition_frequency: int = hyper(10, "steps from one basis to the next", ge=1)
    max_precond_dim: int = hyper(10000, "longest axis that is rotated", ge=0)
    merge_dims: bool = hyper(False, "merge short neighbouring axes first")
    precondition_1d: bool = hyper(False, "rotate tensors of one dimension too")
    normalize_grads: bool = hyper(False, "divide the update by its root mean square")
    data_format: str = hyper("channels_first", "order of axes in merging", choices=("channels_first", "channels_last"))
    correct_bias: bool = hyper(True, "correct the averages as Adam does")

    exp_avg = state("average of rot(g), in the basis")
    exp_avg_sq = state("average of rot(g) squared, in the basis")
    GG = state("averages of G G^T", shape=squares)
    Q = state("bases", shape=squares)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        GG: Value | None,
        Q: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        shampoo_beta: Value,
        eps: Value,
        weight_decay: Value,
        precondition_frequency: Value,
        max_precond_dim: Value,
        merge_dims: bool,
        precondition_1d: bool,
        normalize_grads: bool,
        data_format: str,
        correct_bias: bool,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        t = step - 1
        how = {"max_precond_dim": max_precond_dim, "merge_dims": merge_dims, "precondition_1d": precondition_1d}
        how["data_format"] = data_format
        if GG is not None:
            GG = averaged(GG, g, beta=beta2 if shampoo_beta < 0 else shampoo_beta, **how)
        if t == 0:
            return p, exp_avg, exp_avg_sq, GG, None if GG is None else eigenvectors(GG)
        G = g if Q is None else rot(g, Q, **how)
        m = lerp(G, exp_avg, beta1)
        v = lerp(square(G), exp_avg_sq, beta2)
        c2 = 1 - beta2**t
        U = m / root(v, eps, c2 if correct_bias else None, outside=True)
        U = U if Q is None else unrot(U, Q, **how)
        if normalize_grads:
            U = U / (sqrt(mean(square(U))) + 1e-30)
        size = lr * sqrt(c2) / (1 - beta1**t) if correct_bias else lr
        p = (p - size * U) * (1 - lr * weight_decay)
        if GG is not None and t % precondition_frequency == 0:
            m, v, Q = _renewed(m, v, GG, Q, **how)
        return p, m, v, GG, Q


@stacked("element", "element", "own")
def _renewed(
    m: Tensor, v: Tensor, GG: list[Tensor], Q: list[Tensor], **how: Any
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The averages in the bases to come, and these: a step of the QR algorithm."""
    view = View(m.shape[1:], how)
    m, v = view.along_axes(view.of(m), Q), view.of(v)
    new = []
    for axis, M, B in zip(view.axes, GG, Q, strict=True):
        T = M @ B
        order = (B * T).sum(1).argsort(descending=True)
        v = permuted(v, axis, order)
        new.append(torch.linalg.qr(permuted(T, 2, order)).Q)
    return view.back(view.along_axes(m, [B.mT for B in new])), view.back(v), new
