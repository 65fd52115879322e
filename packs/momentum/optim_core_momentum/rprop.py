"""Rprop."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, clamp, sign, where


class Rprop(RuleOptimizer):
    """Resilient backpropagation: a step size for each element, by whether its gradient keeps its sign.

    With s = sign(g) sign(h), h the gradient of the step before::

        d = d grow where s > 0,   d shrink where s < 0,   d where s = 0        etas = (shrink, grow)
        d = d within step_sizes                                                d is lr at first
        g = 0 where s < 0
        p = p - d sign(g)

    Where the sign has turned nothing moves, and the next step neither grows nor shrinks (iRprop-, which torch has; the
    paper's goes back instead). For full batches: from one mini-batch to the next signs turn all the time.

    **lr is the first step size, read in the first step only**, as in torch: schedulers have no effect after it, but
    with lr = 0 nothing moves. Signs are compared, where torch multiplies gradients: the product of tiny ones is 0.

    Raises:
        InvalidOption: etas or step_sizes are in the wrong order.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = Rprop([w], lr=0.25)
        >>> for _ in range(2):
        ...     loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]  # 0.25, then 1.2 times as much
        [0.45, -1.45]

    Source: Riedmiller and Braun, A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm,
    1993, https://doi.org/10.1109/ICNN.1993.298623; in the form of torch.optim.Rprop.
    """

    lr: float = hyper(1e-2, "step size of every element at first", ge=0, search=(1e-4, 1e-1))
    etas: tuple[float, float] = hyper((0.5, 1.2), "factor where the sign turns, where it stays", gt=0)
    step_sizes: tuple[float, float] = hyper((1e-6, 50.0), "least and largest step size", ge=0)

    prev = state("g of the step before, 0 where its sign had turned")
    step_size = state("step size of each element; 0 before the first step")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse bounds in the wrong order."""
        del given
        (shrink, grow), (least, largest) = options["etas"], options["step_sizes"]
        if not shrink < 1 < grow:
            raise InvalidOption(f"{cls.__name__}: etas=({shrink:g}, {grow:g}) should be below and above 1")
        if not least <= largest:
            raise InvalidOption(f"{cls.__name__}: step_sizes=({least:g}, {largest:g}) should be the least, the largest")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        prev: Value,
        step_size: Value,
        *,
        lr: Value,
        etas: tuple[Value, Value],
        step_sizes: tuple[Value, Value],
    ) -> tuple[Value, ...]:
        """The update above."""
        if not lr:
            return p, prev, step_size
        turned = sign(g) * sign(prev)
        factor = where(turned > 0, etas[1], where(turned < 0, etas[0], 1.0))
        step_size = clamp(where(step_size > 0, step_size, lr) * factor, *step_sizes)
        g = where(turned < 0, 0.0, g)
        return p - step_size * sign(g), g, step_size
