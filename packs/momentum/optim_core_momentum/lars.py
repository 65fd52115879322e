"""LARS."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, gain, minimum, norm, where
from optim_core_momentum.sgd import SGD, check_nesterov


class LARS(RuleOptimizer):
    """Layer-wise adaptive rate scaling: SGD whose gradients have, tensor by tensor, the length of the weights.

    ::

        r = trust_coefficient ||p|| / (||g|| + weight_decay ||p|| + eps), or 1 where p or g is zero
        r = min(r / lr, 1)                           trust_clip (LARC)
        g = r (g + weight_decay p)                   and then SGD's step with momentum

    **Without weight_decay a group is not scaled**, and takes SGD's steps with the full lr: biases and normalisation
    layers are often put into such a group. always_adapt=True scales it all the same. As in torch's SGD, lr stays
    outside of the buffer; in the paper it is inside, which differs while lr changes. The paper's Algorithm 1 leaves the
    trust coefficient out of its formula, the implementations have it. They differ in its default (0.001 to 0.02) and in
    what they do about zero norms; pytorch-optimizer scales matrices only.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = LARS([w], lr=1.0, trust_coefficient=0.1, always_adapt=True).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [2.7, -3.6]

    Source: You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks, 2017, Algorithm 1,
    https://arxiv.org/abs/1708.03888; eps, trust_clip and always_adapt as in timm.
    """

    lr: float = hyper(1.0, "step size; times trust_coefficient: a share of each norm", ge=0, search=(1e-2, 10.0))
    momentum: float = hyper(0.0, "share of the buffer that stays; 0 for none", ge=0)
    dampening: float = hyper(0.0, "share of the gradient that does not enter the buffer", ge=0, le=1)
    weight_decay: float = hyper(0.0, "L2 coefficient, in the part that is scaled; 0 for no scaling", ge=0)
    nesterov: bool = hyper(False, "Nesterov momentum; needs momentum > 0 and dampening = 0")
    trust_coefficient: float = hyper(1e-3, "length of a scaled gradient, as a share of the weights'", gt=0)
    eps: float = hyper(1e-8, "added to the ratio's denominator", ge=0)
    trust_clip: bool = hyper(False, "no step longer than SGD's (LARC)")
    always_adapt: bool = hyper(False, "scale without weight decay too")

    momentum_buffer = state("decayed sum of the scaled g", when="momentum")

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
        trust_coefficient: Value,
        eps: Value,
        trust_clip: bool,
        always_adapt: bool,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if weight_decay or always_adapt:
            p_norm, g_norm = norm(p), norm(g)
            r = trust_coefficient * p_norm / (g_norm + weight_decay * p_norm + eps)
            r = where((p_norm > 0) & (g_norm > 0), r, 1.0)
            if trust_clip and lr:
                r = minimum(r / lr, 1.0)
            g = gain(r * (g + weight_decay * p), r)
        return SGD.rule(
            p, g, momentum_buffer, lr=lr, momentum=momentum, dampening=dampening, nesterov=nesterov, first=first
        )
