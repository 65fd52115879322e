"""QSGD."""

from __future__ import annotations

from optim_core.rules import Value
from optim_core_second_order.psgd import AveragePSGD, halfway


class QSGD(AveragePSGD):
    """PSGDPRO that goes half the way: the average gradient times Q, the root of the preconditioner. Not quantized SGD.

    Q is fitted as in :class:`PSGDPRO`, where its options are explained; with m the corrected average of g::

        p = p (1 - lr weight_decay) - lr Q m                   Q_j along every axis, once

    Q^T Q whitens the gradient, so its size goes into the step as the root: larger gradients make larger steps.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = QSGD([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.2 * losses[0]
        True

    Source: Li, Stochastic Hessian Fittings with Lie Groups, 2024, https://arxiv.org/abs/2402.11858; the variant with
    Q is heavyball's.
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
        return p - lr * halfway(m, Q), Q, running_lower_bound, m
