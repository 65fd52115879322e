"""PID."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain, lerp


class PID(RuleOptimizer):
    """SGD as a controller: by the gradient (P), its decayed sum (I), and the average of its changes (D).

    With h the gradient of the step before::

        i = g in the first step, later  i = momentum i + (1 - dampening) g
        d = 0 in the first step, later  d = momentum d + (1 - momentum) (g - h)
        p = p - lr (g + integral i + derivative d)

    h is zero in the second step too: the authors' code never stores the first gradient, and their results were found
    with it. pytorch-optimizer stores it. The gains multiply: with integral=5 and momentum=0.9 a constant gradient is
    amplified about 50 times, so take a fifth of momentum SGD's lr. momentum=0, the default, is plain SGD.

    Raises:
        InvalidOption: a gain, or dampening, without momentum, which leaves them out.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = PID([w], lr=0.125, momentum=0.9, integral=1.0).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: An, Wang, Sun, Xu, Dai and Zhang, A PID Controller Approach for Stochastic Optimization of Deep Networks,
    2018, https://openaccess.thecvf.com/content_cvpr_2018/html/An_A_PID_Controller_CVPR_2018_paper.html; first steps as
    in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.0, "decay of i and d; 0 for plain SGD", ge=0, lt=1)
    dampening: float = hyper(0.0, "share of the gradient that does not enter i", ge=0, le=1)
    weight_decay: float = l2(0.0)
    integral: float = hyper(5.0, "gain of i", ge=0)
    derivative: float = hyper(10.0, "gain of d", ge=0)

    i_buffer = state("decayed sum of g", when="momentum")
    d_buffer = state("average of the changes of g", when="momentum")
    grad_buffer = state("g of the step before, from the second step on", when="momentum")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse what has no effect without momentum."""
        if not options["momentum"]:
            for name in ("integral", "derivative", "dampening"):
                if name in given and options[name] != cls.hypers[name].default:
                    raise InvalidOption(
                        f"{cls.__name__}: {name}={options[name]:g} has no effect with momentum=0, which is plain SGD: "
                        "add momentum=0.9, say"
                    )
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        i_buffer: Value,
        d_buffer: Value,
        grad_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        dampening: Value,
        integral: Value,
        derivative: Value,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not momentum:
            return p - lr * gain(g, 1.0), i_buffer, d_buffer, grad_buffer
        lr = gain(lr, 1 + integral * (1 - dampening) / (1 - momentum))
        if first:
            return p - lr * (g + integral * g), g, d_buffer, grad_buffer
        i_buffer = momentum * i_buffer + (1 - dampening) * g
        d_buffer = lerp(g - grad_buffer, d_buffer, momentum)
        return p - lr * (g + integral * i_buffer + derivative * d_buffer), i_buffer, d_buffer, g
