"""RMSprop as TensorFlow has it."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, denominator, gain, lerp, maximum, second_moment, sqrt, square


class RMSpropTF(RuleOptimizer):
    """RMSprop in TensorFlow's form, in which Inception, MobileNet and EfficientNet were trained.

    v starts at 1::

        v = alpha v + (1 - alpha) g^2
        u = g / sqrt(v + eps)            centered: a = alpha a + (1 - alpha) g,  v - a^2 in the place of v
        p = p - lr u                     momentum: b = momentum b + lr u,  p = p - b

    So small gradients have a long warm-up, with steps of about lr g at first, and eps is inside the root: the recipes'
    1e-3 there is 0.03 in torch's form. With lr in the buffer, old and larger steps still flow out of it after lr has
    fallen; lr_in_momentum=False leaves lr outside, as torch does. Rounding might bring v - a^2 below 0; here that
    counts as 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = RMSpropTF([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [2.717, -3.704]

    Source: Hinton, Neural Networks for Machine Learning, lecture 6e, 2012; the centered form: Graves, Generating
    Sequences With Recurrent Neural Networks, 2013, https://arxiv.org/abs/1308.0850; in the form of timm's RMSpropTF.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-4, 1e-1))
    alpha: float = hyper(0.9, "decay of the averages", ge=0, lt=1)
    eps: float = hyper(1e-10, "added inside the root", ge=0)
    weight_decay: float = l2(0.0)
    momentum: float = hyper(0.0, "share of the buffer that stays; 0 for none", ge=0)
    centered: bool = hyper(False, "divide by the spread about the average gradient")
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")
    lr_in_momentum: bool = hyper(True, "lr multiplies what enters the buffer, not what leaves it")

    square_avg = state("average of g squared", start=1.0)
    grad_avg = state("average of g", when="centered")
    momentum_buffer = state("decayed sum of steps", when="momentum")

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
        lr_in_momentum: bool,
    ) -> tuple[Value, ...]:
        """The update above."""
        v = square_avg = lerp(square(g), square_avg, alpha)
        if centered:
            grad_avg = lerp(g, grad_avg, alpha)
            v = maximum(square_avg - square(grad_avg), 0.0)
        u = g / denominator(sqrt(second_moment(v) + eps), bare=sqrt(v))
        if momentum:
            entering = lr * u if lr_in_momentum else u
            u = momentum_buffer = gain(momentum * momentum_buffer + entering, 1 / (1 - momentum))
        u = u if momentum and lr_in_momentum else lr * u
        return p - u, square_avg, grad_avg, momentum_buffer
