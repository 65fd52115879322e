"""KLSOAP."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, denominator, lerp, maximum, sqrt, square
from optim_core_second_order.kl import decay_of, factor_shapes, factors, followed, how_of, moved
from optim_core_second_order.rotation import averaged, eigenvectors, rot, unrot


class KLSOAP(RuleOptimizer):
    """SOAP whose two matrices are fitted together, each to the gradient as the other has whitened it.

    For a matrix g, with rot(x) = Q_1^T x Q_2 and unrot(x) = Q_1 x Q_2^T. The first gradient only starts GG_1 = g g^T,
    GG_2 = g^T g and their eigenvectors Q; then, t counting all gradients::

        m = average of rot(g);   v = average of rot(g)^2              bias-corrected
        u = unrot(m / max(sqrt(v), eps))
        GG_1 = c GG_1 + (1 - c) g (Q_2 E_2^-1 Q_2^T) g^T / columns    E_i = max(diag(Q_i^T GG_i Q_i), eps)
        GG_2 = c GG_2 + (1 - c) g^T (Q_1 E_1^-1 Q_1^T) g / rows       c = 1 - (1 - shampoo_beta) / (1 - shampoo_beta^t)
        Q_i = QR(GG_i Q_i + lift Q_i)                                 every precondition_frequency steps
        p = p (1 - lr weight_decay) - lr u

    The columns of Q keep their places; m is turned into the new basis, v stays. ``merge_dims`` merges neighbouring axes
    while they stay below ``max_precond_dim``; what is not a matrix after it, or has an axis longer than that, takes the
    matrices of SOAP. Tensors of one dimension take Adam, unless ``precondition_1d``, and wait for a step as well.

    The authors published no code; this follows heavyball. Emerging-Optimizers' class of the same paper steps at once,
    adds eps to the root, and renews the bases at every step.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = KLSOAP([w], lr=0.1, weight_decay=0.0)
        >>> # a small matrix is merged to one axis, along which the step is lr long
        >>> [round(float(optimizer.minimize(lambda: w.square().sum())), 3) for _ in range(3)]
        [2.0, 2.0, 1.727]

    Source: Lin et al., Understanding and Improving Shampoo and SOAP via Kullback-Leibler Minimization, 2025,
    https://arxiv.org/abs/2509.03378; order of the steps, lift and first step as in heavyball.
    """

    lr: float = hyper(3e-3, "step size", ge=0, search=(3e-4, 3e-2))
    betas: tuple[float, float] = hyper((0.9, 0.95), "decay of the averages of rot(g) and of its square", ge=0, lt=1)
    shampoo_beta: float = hyper(0.95, "decay of the matrices", ge=0, lt=1)
    eps: float = hyper(1e-8, "least root, least eigenvalue, least share of the lift", gt=0)
    weight_decay: float = hyper(0.01, "decoupled decay, times lr", ge=0)
    precondition_frequency: int = hyper(2, "steps from one basis to the next", ge=1)
    max_precond_dim: int = hyper(2048, "longest axis that is rotated", ge=0)
    merge_dims: bool = hyper(True, "merge short neighbouring axes first")
    precondition_1d: bool = hyper(False, "rotate tensors of one dimension too")

    exp_avg = state("average of rot(g), in the basis")
    exp_avg_sq = state("average of rot(g) squared, in the basis")
    GG = state("the matrices", shape=factor_shapes)
    Q = state("bases", shape=factor_shapes)

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
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        how = how_of(max_precond_dim=max_precond_dim, merge_dims=merge_dims, precondition_1d=precondition_1d)
        if step == 1:
            GG = None if GG is None else averaged(GG, g, beta=0.0, **how)
            return p, exp_avg, exp_avg_sq, GG, None if GG is None else eigenvectors(GG)
        G = g if Q is None else rot(g, Q, **how)
        beta1, beta2 = (1 - (1 - beta) / (1 - beta ** (step - 1)) for beta in betas)
        m = lerp(G, exp_avg, beta1)
        v = lerp(square(G), exp_avg_sq, beta2)
        u = m / denominator(maximum(sqrt(v), eps), bare=sqrt(v))
        if GG is not None:
            u = unrot(u, Q, **how)
            GG = factors(GG, Q, g, decay=decay_of(shampoo_beta, step), eps=eps, **how)
            if step % precondition_frequency == 0:
                new = followed(GG, Q, eps=eps)
                m, Q = moved(m, Q, new, **how), new
        return p * (1 - lr * weight_decay) - lr * u, m, v, GG, Q
