"""Lion."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, sign


class Lion(RuleOptimizer):
    """Sign of a mixture of gradient and momentum: every element moves by lr.

    ::

        p = p (1 - lr weight_decay) - lr sign(beta1 m + (1 - beta1) g)
        m = beta2 m + (1 - beta2) g

    m is updated after its use, with the other beta. sign(0) = 0; under zero gradients p goes on moving by lr until m
    underflows. Take lr 3 to 10 times smaller than AdamW's, and weight_decay as much larger. (lion-pytorch has an
    argument decoupled_weight_decay that means something else: decay relative to the first lr.)

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.0]))
        >>> loss = Lion([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.75, -1.75, 0.0]

    Source: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, Algorithm 2,
    https://arxiv.org/abs/2302.06675.
    """

    lr: float = hyper(1e-4, "step size: what each element moves by", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.9, 0.99), "share of m in the sign; decay of m", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g, where it acts through the sign only")

    exp_avg = state("average of g")

    @staticmethod
    def rule(p: Value, g: Value, exp_avg: Value, *, lr: Value, betas: tuple[Value, Value]) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        return p - lr * sign(lerp(g, exp_avg, beta1)), lerp(g, exp_avg, beta2)
