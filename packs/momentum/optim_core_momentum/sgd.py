"""SGD with momentum."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain


def check_nesterov(owner: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, if Nesterov momentum has what it needs.

    Raises:
        InvalidOption: it has no momentum, or dampening.
    """
    if options["nesterov"] and not (options["momentum"] > 0 and options["dampening"] == 0):
        raise InvalidOption(
            f"{owner}: nesterov=True needs momentum > 0 and dampening = 0, not "
            f"momentum={options['momentum']:g} and dampening={options['dampening']:g}: add momentum=0.9, say"
        )
    return options


class SGD(RuleOptimizer):
    """Gradient descent, with momentum if wanted.

    ::

        b = g in the first step, later  b = momentum b + (1 - dampening) g
        p = p - lr b;     nesterov:  p = p - lr (g + momentum b)

    As in torch, b is a sum and no average (a constant gradient is amplified 1/(1 - momentum) times), the first gradient
    enters it undampened, and lr stays outside, so that a change of lr acts on old gradients at once.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SGD([w], lr=0.25, momentum=0.9).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum in deep learning,
    2013, https://proceedings.mlr.press/v28/sutskever13.html; in the form of torch.optim.SGD.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.0, "share of the buffer that stays; 0 for none", ge=0)
    dampening: float = hyper(0.0, "share of the gradient that does not enter the buffer", ge=0, le=1)
    weight_decay: float = l2(0.0)
    nesterov: bool = hyper(False, "Nesterov momentum; needs momentum > 0 and dampening = 0")

    momentum_buffer = state("decayed sum of g", when="momentum")

    sparse = True

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
        nesterov: bool,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not momentum:
            return p - lr * gain(g, 1.0), momentum_buffer
        momentum_buffer = g if first else momentum * momentum_buffer + (1 - dampening) * g
        d = g + momentum * momentum_buffer if nesterov else momentum_buffer
        return p - lr * gain(d, (1 - dampening) / (1 - momentum)), momentum_buffer
