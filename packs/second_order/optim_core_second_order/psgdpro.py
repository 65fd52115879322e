"""PSGDPRO."""

from __future__ import annotations

from optim_core.rules import Value
from optim_core_second_order.psgd import AveragePSGD, whitened


class PSGDPRO(AveragePSGD):
    """A preconditioner with a nearly symmetric factor for each axis, fitted without inverses so that it whitens g.

    P = Q^T Q, Q being the Kronecker product of the Q_j; mat_j puts axis j in front and flattens the others, axes of 1
    are left out. With N the number of elements, d that of axis j, V normal noise::

        m = average of g                                                 bias-corrected
        G = m + (dampening + 1.2e-7 |m|) V                               where Q is fitted in this step
        X = P G;   C = mat_j(X) mat_j(X)^T;   t = N / d
        Q_j = Q_j - precond_lr (C - t) Q_j / L                           L: a bound of the norm of C + t that decays
        R = Q_j^T - Q_j, of norm 1;   Q_j = (1 + a R + a^2 R^2 / 2) Q_j  a: the best up to 0.5
        p = p (1 - lr weight_decay) - lr P m

    All Q_j see the same X, and are brought to one size before. Axes longer than ``max_size_triangular``, and tensors of
    fewer than ``min_ndim_triangular`` dimensions, have diagonal factors; so has the longest axis with
    ``memory_save_mode="one_diag"`` ("smart_one_diag": if it is alone in its length), and every axis with "all_diag".
    Q starts from the first gradient, or with ``precond_init_scale`` times the identity. It is fitted in each of the
    first 1000 steps, then in ever fewer, down to 3 in a hundred; or at ``preconditioner_update_probability``, which is
    a rhythm in truth. ``momentum_into_precond_update=False`` fits it to g. betas[1] is not used.

    The step has a root mean square of about 1: lr is a fraction of Adam's. The rhythm and the draws are part of the
    state dict. This follows heavyball, not its author's own code; NVIDIA's class of this name has no bias correction,
    more noise, and a decaying precond_lr. :class:`Kron` fits triangular factors by another rule.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = PSGDPRO([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.2 * losses[0]
        True

    Source: Li, Stochastic Hessian Fittings with Lie Groups, 2024, https://arxiv.org/abs/2402.11858, the local
    coordinate with the rotation; bounds, balance and rhythm as in heavyball.
    """

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        noise: Value | None,
        Q: Value,
        running_lower_bound: Value,
        exp_avg: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        precond_lr: Value,
        precond_init_scale: Value | None,
        lower_bound_beta: Value,
        dampening: Value,
        precond_update_power_iterations: Value,
        momentum_into_precond_update: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        Q, running_lower_bound, m = AveragePSGD.prepared(
            g,
            noise,
            Q,
            running_lower_bound,
            exp_avg,
            betas=betas,
            momentum_into_precond_update=momentum_into_precond_update,
            precond_init_scale=precond_init_scale,
            dampening=dampening,
            step=step,
            precond_lr=precond_lr,
            lower_bound_beta=lower_bound_beta,
            power_iterations=precond_update_power_iterations,
        )
        return p - lr * whitened(m, Q), Q, running_lower_bound, m
