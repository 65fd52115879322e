"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core_adaptive.adam import Adam


class AdamW(RuleOptimizer):
    """Adam that shrinks the parameter itself instead of adding the decay to the gradient.

    p = p (1 - lr weight_decay), then Adam's step. The rate lr is the group's current one, as in torch; the paper
    decays by the schedule's factor alone, without the base lr: its lambda is weight_decay = lambda / lr here.

    Decay is on by default and acts on every parameter of the group; ``optim_core.create_optimizer`` leaves biases and
    normalisation layers out.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdamW([w], lr=0.1, weight_decay=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.85, -1.8]

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2017, Algorithm 2,
    https://arxiv.org/abs/1711.05101.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(1e-2)
    amsgrad: bool = hyper(False, "divide by the largest average square so far")

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")
    max_exp_avg_sq = state("largest exp_avg_sq so far", when="amsgrad")

    rule = staticmethod(Adam.rule)
