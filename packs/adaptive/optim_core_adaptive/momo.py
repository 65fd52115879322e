"""MoMo: step sizes from a model of the loss."""

from __future__ import annotations

from typing import Any

from optim_core import hyper, state
from optim_core.optimizers import LossValue
from optim_core.rules import Value, dot, lerp, maximum, minimum, root, second_moment, square, total, where
from optim_core_adaptive.dadaptation import OneLr, check_one_lr


class Momo(LossValue, OneLr):
    """SGD with momentum whose step size follows from the loss: lr is the longest step, not the step.

    f is the loss, < , > and | | are taken over all parameters, and w = 1 + lr weight_decay::

        F = beta F + (1 - beta) f;     d = beta d + (1 - beta) g;     c = beta c + (1 - beta) <g, p>
        rho = 1, the averages starting at the first values;           bias_correction: 1 - beta^k, starting at 0
        s = min(lr / rho, max(0, w (F - rho lb - c) + <d, p>) / |d|^2)
        p = (p - s d) / w

    lb is a lower bound of the loss, 0 if nothing better is known; where the loss comes below it only decay moves p.
    With use_fstar it is estimated on the way, and never falls below the lb given::

        lb = max(cap / (2 w rho), lb)     where cap = w (F - c) + <d, p> < w rho lb; before s
        lb = max((F + <d, p> - c - s |d|^2 / 2) / rho, lb given); after s

    The loss is a part of the step: ``minimize(closure)`` and ``step(closure)`` know it, ``step()`` alone cannot be
    taken; see :class:`~optim_core.optimizers.LossValue`. It must not hold an L2 term, which weight_decay would be.

    All groups have one lr, or 0, with which a group stands still and counts for nothing. optax divides the weights by
    w, but not the step.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Momo([w]).minimize(lambda: w.square().sum())  # f = 5, |g|^2 = 20
        >>> [round(x, 3) for x in w.tolist()]
        [0.5, -1.0]

    Source: Schaipp et al., MoMo: Momentum Models for Adaptive Learning Rates, 2023, Algorithms 2 and 3,
    https://arxiv.org/abs/2305.07583; bias_correction as in the authors' code.
    """

    lr: float = hyper(1.0, "longest step size; one value for all groups, or 0", ge=0, search=(1e-1, 10.0))
    weight_decay: float = hyper(0.0, "proximal decay: divide p by 1 + lr*weight_decay", ge=0, common=True)
    beta: float = hyper(0.9, "decay of the averages", ge=0, lt=1, common=True)
    lb: float = hyper(0.0, "lower bound of the loss", common=True)
    bias_correction: bool = hyper(False, "start the averages at 0 and correct them", common=True)
    use_fstar: bool = hyper(False, "estimate the lower bound on the way", common=True)

    grad_avg = state("d")
    grad_dot_w = state("c", level="whole")
    loss_avg = state("F", level="whole")
    lower_bound = state("lb in force", level="whole", start="lb")
    k = state("number of steps that counted", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        loss: Value,
        grad_avg: Value,
        grad_dot_w: Value,
        loss_avg: Value,
        lower_bound: Value,
        k: Value,
        *,
        lr: Value,
        weight_decay: Value,
        beta: Value,
        lb: Value,
        bias_correction: bool,
        use_fstar: bool,
        maximize: bool,
        first: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("Momo", lr, largest_lr, split=False)
        if not largest_lr:
            return p, loss, grad_avg, grad_dot_w, loss_avg, lower_bound, k
        kept = beta if bias_correction else where(k > 0, beta, 0.0)
        loss_avg = lerp(-loss if maximize else loss, loss_avg, kept)
        grad_dot_w = lerp(_sum(dot(g, p), lr), grad_dot_w, kept)
        d = g if first and not bias_correction else lerp(g, grad_avg, kept)
        s, lower_bound = momo_step_size(
            (loss_avg, grad_dot_w, lower_bound),
            _sum(dot(d, p), lr),
            _sum(dot(d, d), lr),
            lr=largest_lr,
            rho=1 - beta ** (k + 1) if bias_correction else 1.0,
            w=1 + largest_lr * weight_decay,
            lb=lb,
            use_fstar=use_fstar,
        )
        p = (p - s * d) / (1 + lr * weight_decay) if lr else p
        return p, loss, d, grad_dot_w, loss_avg, lower_bound, k + 1


class MomoAdam(LossValue, OneLr):
    """Adam whose step size follows from the loss: lr is the longest step, which it takes where the loss is high.

    f is the loss, < , > are taken over all parameters, w = 1 + lr weight_decay, and all averages start at 0::

        F = beta1 F + (1 - beta1) f;     d = beta1 d + (1 - beta1) g;     c = beta1 c + (1 - beta1) <g, p>
        v = beta2 v + (1 - beta2) g^2;   D = sqrt(v / (1 - beta2^k)) + eps;   rho = 1 - beta1^k
        s = min(lr / rho, max(0, w (F - rho lb - c) + <d, p>) / <d, d/D>)
        p = (p - s d/D) / w              divide=False: p (1 - lr weight_decay) - s d/D

    lb and use_fstar are as in Momo, with <d, d/D> for |d|^2. Where the second term of s is never the smaller, this is
    Adam. All groups have one lr, or 0, with which a group stands still and counts for nothing. optax divides the
    weights by w, but not the step.

    The loss is a part of the step: ``minimize(closure)`` and ``step(closure)`` know it, ``step()`` alone cannot be
    taken; see :class:`~optim_core.optimizers.LossValue`.

    Raises:
        InvalidOption: at construction, and in a step, if two groups have different lr and neither is 0.
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = MomoAdam([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Schaipp et al., MoMo: Momentum Models for Adaptive Learning Rates, 2023, Algorithms 3 and 4,
    https://arxiv.org/abs/2305.07583; divide as in the authors' code.
    """

    lr: float = hyper(1e-2, "longest step size; one value for all groups, or 0", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper(
        (0.9, 0.999), "decay of the averages of g, f and <g, p>; of g squared", ge=0, lt=1, common=True
    )
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "proximal decay; or decoupled", ge=0, common=True)
    lb: float = hyper(0.0, "lower bound of the loss", common=True)
    divide: bool = hyper(True, "divide p by 1 + lr*weight_decay; False: multiply it by 1 - lr*weight_decay")
    use_fstar: bool = hyper(False, "estimate the lower bound on the way", common=True)

    grad_avg = state("d")
    grad_avg_sq = state("v")
    grad_dot_w = state("c", level="whole")
    loss_avg = state("F", level="whole")
    lower_bound = state("lb in force", level="whole", start="lb")
    k = state("number of steps that counted", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        loss: Value,
        grad_avg: Value,
        grad_avg_sq: Value,
        grad_dot_w: Value,
        loss_avg: Value,
        lower_bound: Value,
        k: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        lb: Value,
        divide: bool,
        use_fstar: bool,
        maximize: bool,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        check_one_lr("MomoAdam", lr, largest_lr, split=False)
        if not largest_lr:
            return p, loss, grad_avg, grad_avg_sq, grad_dot_w, loss_avg, lower_bound, k
        beta1, beta2 = betas
        loss_avg = lerp(-loss if maximize else loss, loss_avg, beta1)
        grad_dot_w = lerp(_sum(dot(g, p), lr), grad_dot_w, beta1)
        d, v = lerp(g, grad_avg, beta1), lerp(square(g), grad_avg_sq, beta2)
        c2 = 1 - beta2 ** (k + 1)
        u = d / root(second_moment(v, c2), eps, c2)
        s, lower_bound = momo_step_size(
            (loss_avg, grad_dot_w, lower_bound),
            _sum(dot(d, p), lr),
            _sum(dot(d, u), lr),
            lr=largest_lr,
            rho=1 - beta1 ** (k + 1),
            w=1 + largest_lr * weight_decay,
            lb=lb,
            use_fstar=use_fstar,
        )
        if lr:
            p = (p - s * u) / (1 + lr * weight_decay) if divide else p * (1 - lr * weight_decay) - s * u
        return p, loss, d, v, grad_dot_w, loss_avg, lower_bound, k + 1


def momo_step_size(
    averages: tuple[Value, Value, Value],
    dp: Value,
    dd: Value,
    *,
    lr: Value,
    rho: Any,
    w: Value,
    lb: Value,
    use_fstar: bool,
) -> tuple[Value, Value]:
    """s and the new lower bound.

    Args:
        averages: F, c, and the lower bound so far.
        dp: <d, p>.
        dd: |d|^2, or <d, d/D>.
        lr, lb, use_fstar: the options.
        rho, w: the terms of these names.
    """
    F, c, bound = averages
    if use_fstar:
        cap = w * (F - c) + dp
        bound = where(cap < w * rho * bound, maximum(cap / (2 * w * rho), lb), bound)
    allowed = maximum(w * (F - rho * bound - c) + dp, 0.0) / dd
    s = where(dd > 0, minimum(allowed, lr / rho), 0.0)
    if use_fstar:
        bound = maximum((F + dp - c - s * dd / 2) / rho, lb)
    return s, bound


def _sum(x: Value, lr: Value) -> Value:
    """The sum over all parameters that move."""
    return total(x if lr else 0 * x)
