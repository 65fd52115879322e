"""AdamD."""

from __future__ import annotations

from optim_core.rules import Value
from optim_core_adaptive.adam import Adam


class AdamD(Adam):
    """Adam without the correction of the average gradient, so that no step is longer than lr asks for.

    With c2 = 1 - beta2^t::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2          (amsgrad: the denominator takes the largest v so far)
        p = p - lr m / (sqrt(v / c2) + eps)

    The same as Adam with lr (1 - beta1^t): the first step is 1 - beta1 times Adam's, a warm-up of its own. Decoupled
    decay keeps the full lr. eps stands outside the correction of v, as in torch, where the author proposed this; the
    form lr sqrt(c2) m / (sqrt(v) + eps) weighs it more in the first steps.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdamD([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.99, -1.99]

    Source: St John, AdamD: Improved bias-correction in Adam, 2021, https://arxiv.org/abs/2110.10828; written from its
    abstract and its author's proposal, https://github.com/pytorch/pytorch/issues/67105.
    """

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        max_exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        amsgrad: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """Adam's, with a step size that cancels the correction."""
        lr = lr * (1 - betas[0] ** step)
        return Adam.rule(
            p, g, exp_avg, exp_avg_sq, max_exp_avg_sq, lr=lr, betas=betas, eps=eps, amsgrad=amsgrad, step=step
        )
