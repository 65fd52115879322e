"""SGDP."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, tangential, where
from optim_core_momentum.sgd import check_nesterov


class SGDP(RuleOptimizer):
    """SGD that leaves out the part of a step that only lengthens weights whose length does not matter.

    ::

        b = momentum b + (1 - dampening) g
        d = b;   nesterov:  d = g + momentum b
        d = d - x (x . d) / (||x|| + eps)^2         for scale-invariant weights x, whose decay is times wd_ratio
        p = p (1 - lr weight_decay / (1 - momentum)) - lr d

    A view x of p (each row by itself, or p as a whole) counts as scale-invariant if |cos(g, x)| < delta / sqrt(n) for
    all its rows of n numbers; rows are tried first. Parameters with fewer than two dimensions get SGD's steps.

    Decay is decoupled and divided by 1 - momentum: with momentum=0.9 it is ten times lr weight_decay. Other than in
    torch's SGD the buffer starts at zero, so that dampening acts in the first step too. The authors' released code
    projects the buffer itself where nesterov is off; the paper, and this, projects the step only.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        >>> turn = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> loss = SGDP([w], lr=0.1).minimize(lambda: (w * turn).sum())
        >>> [round(x, 3) for x in w.flatten().tolist()]
        [1.0, -0.1, -0.1, 2.0]

    Source: Heo et al., AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights, 2020,
    Algorithm 1, https://arxiv.org/abs/2006.08217; decay as in the authors' code.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.0, "share of the buffer that stays; 0 for none", ge=0, lt=1)
    dampening: float = hyper(0.0, "share of the gradient that does not enter the buffer", ge=0, le=1)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr / (1 - momentum)", ge=0)
    nesterov: bool = hyper(False, "Nesterov momentum; needs momentum > 0 and dampening = 0")
    eps: float = hyper(1e-8, "keeps norms off zero", ge=0)
    delta: float = hyper(0.1, "threshold of the cosine, times sqrt(n)", ge=0)
    wd_ratio: float = hyper(0.1, "factor on the decay of scale-invariant weights", ge=0)

    momentum_buffer = state("decayed sum of g", when="momentum")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse Nesterov momentum without momentum, or with dampening."""
        del given
        return check_nesterov(cls.__name__, options)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        dampening: Value,
        weight_decay: Value,
        nesterov: bool,
        eps: Value,
        delta: Value,
        wd_ratio: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        d = (1 - dampening) * g
        if momentum:
            d = momentum_buffer = momentum * momentum_buffer + d
        if nesterov:
            d = g + momentum * momentum_buffer
        d = gain(d, (1 - dampening) / (1 - momentum))
        decay = lr * weight_decay / (1 - momentum)
        if p.ndim > 1:
            d, invariant = tangential(d, p, g, delta=delta, eps=eps)
            decay = decay * where(invariant, wd_ratio, 1.0)
        if weight_decay:
            p = p * (1 - decay)
        return p - lr * d, momentum_buffer
