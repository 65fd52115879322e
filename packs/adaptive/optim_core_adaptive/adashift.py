"""AdaShift."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, amax, lerp, mean, root, second_moment, square, where


class AdaShift(RuleOptimizer):
    """Adam whose denominator knows only gradients that have left the numerator, which so stays independent of it.

    The last n = keep_num gradients make the average, the one that drops out goes into the denominator; W = 1 + beta1 +
    ... + beta1^(n-1), and k counts the steps since v first was above 0::

        m = (g_t + beta1 g_(t-1) + ... + beta1^(n-1) g_(t-n+1)) / W
        v = beta2 v + (1 - beta2) max(g_(t-n)^2)             one number per tensor; or the mean, or each element's own
        p = p - lr m / (sqrt(v / (1 - beta2^k)) + eps)       not in the first n steps, nor where v = 0

    The window costs n times the parameters' memory. m is kept up recursively: what enters and what leaves. A widespread
    port leaves the first n gradients out of m and subtracts them all the same; others count k from step n + 1 on, which
    differs where the first gradients were 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AdaShift([w], lr=0.1, keep_num=2)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(4)]
        >>> losses[2] == losses[0] > losses[3], [round(x, 3) for x in w.tolist()]
        (True, [0.901, -1.803])

    Source: Zhou et al., AdaShift: Decorrelation and Convergence of Adaptive Learning Rate Methods, 2018,
    https://arxiv.org/abs/1810.00143; counts as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    keep_num: int = hyper(10, "number of gradients in the average, and delay of the denominator", ge=1)
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay within the average; decay of the squares", ge=0, lt=1)
    eps: float = hyper(1e-10, "added to the root", ge=0)
    reduce: str = hyper("max", "what of a tensor's delayed squares counts", choices=("max", "mean", "none"))

    exp_avg = state("average of the last gradients")
    exp_avg_sq = state("average of the delayed squares", level=lambda group: _level(group["reduce"]))
    exp_avg_sq_weight = state("1 - beta2^k", level=lambda group: _level(group["reduce"]))
    last_grads = state("the last gradients, each in the place of the one that dropped out", copies="keep_num")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        exp_avg_sq_weight: Value,
        last_grads: list[Value],
        *,
        lr: Value,
        keep_num: Value,
        betas: tuple[Value, Value],
        eps: Value,
        reduce: str,
        step: Value,
    ) -> tuple[Value | list[Value], ...]:
        """The update above."""
        beta1, beta2 = betas
        place = int((step - 1) % keep_num)
        oldest = last_grads[place]
        last_grads = [*last_grads[:place], g, *last_grads[place + 1 :]]
        total_weight = (1 - beta1**keep_num) / (1 - beta1)
        exp_avg = beta1 * (exp_avg - beta1 ** (keep_num - 1) / total_weight * oldest) + g / total_weight
        if step > keep_num:
            q = square(oldest)
            q = amax(q) if reduce == "max" else mean(q) if reduce == "mean" else q
            exp_avg_sq = lerp(q, exp_avg_sq, beta2)
            exp_avg_sq_weight = where(exp_avg_sq > 0, lerp(1.0, exp_avg_sq_weight, beta2), 0.0)
            second_moment(where(exp_avg_sq > 0, exp_avg_sq / exp_avg_sq_weight, 0.0))
            u = exp_avg / root(exp_avg_sq, eps, exp_avg_sq_weight)
            p = p - lr * where(exp_avg_sq > 0, u, 0.0)
        return p, exp_avg, exp_avg_sq, exp_avg_sq_weight, last_grads


def _level(reduce: str) -> str:
    return "element" if reduce == "none" else "tensor"
