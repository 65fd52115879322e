"""RMSprop."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, gain, lerp, maximum, root, second_moment, square


class RMSprop(RuleOptimizer):
    """Divides each element's step by the root of a running average of its squared gradients.

    ::

        v = alpha v + (1 - alpha) g^2
        u = g / (sqrt(v) + eps)                 centered: a = alpha a + (1 - alpha) g,  v - a^2 in the place of v
        p = p - lr u                            momentum: b = momentum b + u,  p = p - lr b

    v starts at 0 and is not corrected: the first step is lr / sqrt(1 - alpha), ten times lr by default. TensorFlow's
    form, in which the Inception, EfficientNet and MobileNet papers trained, starts v at 1, has eps inside the root and
    lr inside the buffer: it is another method. Rounding can bring v - a^2 below 0, where torch gives NaN; here it
    counts as 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = RMSprop([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [2.0, -3.0]

    Source: Hinton, Neural Networks for Machine Learning, lecture 6e, 2012; the centered form: Graves, Generating
    Sequences With Recurrent Neural Networks, 2013, https://arxiv.org/abs/1308.0850; in the form of torch.optim.RMSprop.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-4, 1e-1))
    alpha: float = hyper(0.99, "decay of the averages", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = l2(0.0)
    momentum: float = hyper(0.0, "share of the buffer that stays; 0 for none", ge=0)
    centered: bool = hyper(False, "divide by the spread about the average gradient")

    square_avg = state("average of g squared")
    grad_avg = state("average of g", when="centered")
    momentum_buffer = state("decayed sum of u", when="momentum")

    sparse = True

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        square_avg: Value,
        grad_avg: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        alpha: Value,
        eps: Value,
        momentum: Value,
        centered: bool,
    ) -> tuple[Value, ...]:
        """The update above."""
        v = square_avg = lerp(square(g), square_avg, alpha)
        if centered:
            grad_avg = lerp(g, grad_avg, alpha)
            v = maximum(square_avg - square(grad_avg), 0.0)
        u = g / root(second_moment(v), eps)
        if momentum:
            u = momentum_buffer = gain(momentum * momentum_buffer + u, 1 / (1 - momentum))
        return p - lr * u, square_avg, grad_avg, momentum_buffer
