"""SOLP."""

from __future__ import annotations

from optim_core import state
from optim_core.rules import Value, denominator, lerp, maximum, sqrt, square
from optim_core_second_order.kl import decay_of, factor_shapes, followed, how_of, moved
from optim_core_second_order.klsoap import KLSOAP
from optim_core_second_order.rotation import averaged, eigenvectors, rot, unrot


class SOLP(KLSOAP):
    """SOAP with LaProp inside: in the basis the gradient is divided first, and averaged then.

    With rot(x) = Q_1^T x Q_2 and unrot(x) = Q_1 x Q_2^T. The first gradient only starts GG_1 = g g^T, GG_2 = g^T g and
    their eigenvectors Q; then, t counting all gradients::

        v = average of rot(g)^2                              bias-corrected
        m = average of rot(g) / max(sqrt(v), eps)            bias-corrected
        u = unrot(m)
        GG_i = c GG_i + (1 - c) g_i g_i^T                    c = 1 - (1 - shampoo_beta) / (1 - shampoo_beta^t)
        Q_i = QR(GG_i Q_i + lift Q_i)                        every precondition_frequency steps
        p = p (1 - lr weight_decay) - lr u

    g_i is g with axis i in front and the others flattened. The columns of Q keep their places; m is turned into the
    new basis, v stays. Shapes, options and tensors of one dimension are those of
    :class:`~optim_core_second_order.klsoap.KLSOAP`.

    heavyball counts the steps between bases by adding 1 / precondition_frequency, which rounding delays for some
    frequencies (3: steps 3, 7, ...); here they are steps 3, 6, .... It merges all dimensions but the first, where
    ``merge_dims`` here is KLSOAP's. Its caution, warm-up and clipping are wrappers and schedulers here.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = SOLP([w], lr=0.1, weight_decay=0.0)
        >>> # a small matrix is merged to one axis, along which the step is lr long
        >>> [round(float(optimizer.minimize(lambda: w.square().sum())), 3) for _ in range(3)]
        [2.0, 2.0, 1.727]

    Source: no publication of its own; the code named in the spec. SOAP: Vyas et al., SOAP: Improving and Stabilizing
    Shampoo using Adam, 2024, https://arxiv.org/abs/2409.11321.
    """

    exp_avg = state("average of rot(g) over its root, in the basis")
    exp_avg_sq = state("average of rot(g) squared, in the basis")
    GG = state("averages of G G^T", shape=factor_shapes)
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
        if GG is not None:
            GG = averaged(GG, g, beta=0.0 if step == 1 else decay_of(shampoo_beta, step), **how)
        if step == 1:
            return p, exp_avg, exp_avg_sq, GG, None if GG is None else eigenvectors(GG)
        y = g if Q is None else rot(g, Q, **how)
        beta1, beta2 = (decay_of(beta, step - 1) for beta in betas)
        v = lerp(square(y), exp_avg_sq, beta2)
        u = m = lerp(y / denominator(maximum(sqrt(v), eps), bare=sqrt(v)), exp_avg, beta1)
        if GG is not None:
            u = unrot(m, Q, **how)
            if step % precondition_frequency == 0:
                new = followed(GG, Q, eps=eps)
                m, Q = moved(m, Q, new, **how), new
        return p * (1 - lr * weight_decay) - lr * u, m, v, GG, Q
