"""NAdamW."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, root, second_moment, square


class NAdamW(RuleOptimizer):
    """AdamW with plain Nesterov momentum: the step looks one average further than the state.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        p = p (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        n = beta1 m + (1 - beta1) g
        p = p - lr (n / c1) / (sqrt(v / c2) + eps)

    So the first step is 1 + beta1 times lr. Three rules carry this name: optax corrects the parts of n by beta1^(t+1)
    and beta1^t, as Dozat has it, and ``torch.optim.NAdam`` with decoupled decay, here :class:`NAdam`, has a schedule of
    momentum besides. timm's nadamw is this one. AlgoPerf's code finds n in place and then m back from it, which fails
    for beta1 = 0; here nothing has to be found back.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = NAdamW([w], lr=0.1, weight_decay=0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.81, -1.81]

    Source: Choi et al., On Empirical Comparisons of Optimizers for Deep Learning, 2019,
    https://arxiv.org/abs/1910.05446, with the decay of Loshchilov and Hutter; in the form of AlgoPerf's baseline.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(1e-2)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        n = lerp(g, exp_avg, beta1)
        return p - lr / (1 - beta1**step) * n / root(second_moment(exp_avg_sq, c2), eps, c2), exp_avg, exp_avg_sq
