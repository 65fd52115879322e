"""SparseAdam: lazy Adam."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp, root, second_moment, sqrt, square


class SparseAdam(RuleOptimizer):
    """Adam for embeddings: rows without a gradient keep their averages, and do not move.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t, for the rows that a sparse gradient has::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = p - lr sqrt(c2) / c1 m / (sqrt(v) + eps)

    t counts the steps of the whole parameter. So a row that first occurs late is corrected too little, and moves by
    (1 - beta1) / sqrt(1 - beta2) lr, 3.2 by default. eps is added to the uncorrected root, unlike in torch's Adam. A
    dense gradient has all rows; ``torch.optim.SparseAdam`` refuses it. A row that occurs several times in a batch has
    the sum of its gradients, one that does not occur at all no weight decay: there is none.

    Example:
        >>> import torch
        >>> embedding = torch.nn.Embedding(4, 2, sparse=True)
        >>> before = embedding.weight.detach().clone()
        >>> optimizer = SparseAdam(embedding.parameters(), lr=0.1)
        >>> loss = optimizer.minimize(lambda: embedding(torch.tensor([2, 0, 2])).square().sum())
        >>> (embedding.weight != before).any(dim=1).tolist()
        [True, False, True, False]

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2014, Algorithm 1,
    https://arxiv.org/abs/1412.6980; in the form of torch.optim.SparseAdam.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the uncorrected root", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

    sparse = True

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
        v = second_moment(exp_avg_sq, c2)
        return p - lr * sqrt(c2) / (1 - beta1**step) * exp_avg / root(v, eps, c2, outside=True), exp_avg, exp_avg_sq
