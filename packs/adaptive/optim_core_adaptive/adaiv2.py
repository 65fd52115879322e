"""AdaiV2."""

from __future__ import annotations

from optim_core import hyper, l2
from optim_core.rules import Value, clamp, lerp, maximum, size, square, total
from optim_core_adaptive.adai import SMALLEST_MEAN, Adai


class AdaiV2(Adai):
    """Adai whose step size is fitted to each element too, as far as a dampening below 1 asks for it.

    The mean is over all elements of the model, P is the product of all b so far, a is the dampening::

        v = beta2 v + (1 - beta2) g^2
        w = v / (1 - beta2^t)
        b = 1 - beta0 (w / mean(w))^(1/(3 - 2a)),  at least 0 and at most 1 - eps
        m = b m + (1 - b)^a g
        p = p - lr beta0^(1-a) m / (1 - P)

    With dampening = 1, the default, it is Adai with decoupled decay: AdaiW, which the authors' code for stable weight
    decay calls AdaiS. The authors call the rest of it a test version; it is not in their paper. What :class:`Adai` says
    of lr, of the mean and of gradients that are all 0 holds here too.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaiV2([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: Xie et al., Adaptive Inertia: Disentangling the Effects of Adaptive Learning Rate and Momentum, 2020,
    https://arxiv.org/abs/2006.15815; dampening as in the authors' code.
    """

    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(True, "shrink p by 1 - lr*weight_decay; False: add weight_decay*p to g")
    dampening: float = hyper(1.0, "1 for Adai; less also fits the size of the steps", ge=0, le=1)

    @staticmethod
    def rule(  # type: ignore[override]  # a rule takes its own method's options
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        beta1_prod: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        dampening: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if dampening == 1:
            return Adai.rule(p, g, exp_avg, exp_avg_sq, beta1_prod, lr=lr, betas=betas, eps=eps, step=step)
        beta0, beta2 = betas
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        w = exp_avg_sq / (1 - beta2**step)
        mean = maximum(total(w) / total(size(p)), SMALLEST_MEAN)
        beta1 = clamp(1 - beta0 * (w / mean) ** (1 / (3 - 2 * dampening)), 0.0, 1 - eps)
        beta1_prod = beta1_prod * beta1
        exp_avg = beta1 * exp_avg + (1 - beta1) ** dampening * g
        p = p - lr * beta0 ** (1 - dampening) * exp_avg / (1 - beta1_prod)
        return p, exp_avg, exp_avg_sq, beta1_prod
