"""AggMo."""

from __future__ import annotations

from torch.optim.optimizer import ParamsT

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain


class AggMo(RuleOptimizer):
    """Momentum with several decays at once, whose velocities are averaged.

    For K betas::

        v_i = beta_i v_i + g
        p = p - lr/K (v_1 + ... + v_K)

    Nothing is dampened: with the default betas a constant gradient is amplified 37 times. The authors' code keeps one
    velocity for equal betas, here each has its own.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = AggMo([w], lr=0.25, betas=(0.0, 0.5))
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: Lucas, Sun, Zemel and Grosse, Aggregated Momentum: Stability Through Passive Damping, 2018, equation 4,
    https://arxiv.org/abs/1804.00325.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, ...] = hyper((0.0, 0.9, 0.99), "decay of each velocity; any number of them", ge=0, lt=1)
    weight_decay: float = l2(0.0)

    momentum_buffer = state("decayed sums of g, one for each beta", copies="betas")

    @classmethod
    def from_exp_form(
        cls, params: ParamsT, lr: float = 1e-2, a: float = 0.1, k: int = 3, weight_decay: float = 0.0
    ) -> AggMo:
        """Build it with betas 1 - a^i for i = 0 ... k-1, the paper's exponential form.

        Raises:
            InvalidOption: a is not in (0, 1], or k less than 1.
        """
        if not 0 < a <= 1:
            raise InvalidOption(f"{cls.__name__}.from_exp_form: a={a!r} is out of range: it must be > 0 and <= 1")
        if k < 1:
            raise InvalidOption(f"{cls.__name__}.from_exp_form: k={k!r} is out of range: it must be >= 1")
        return cls(params, lr=lr, betas=tuple(1 - a**i for i in range(k)), weight_decay=weight_decay)

    @staticmethod
    def rule(
        p: Value, g: Value, momentum_buffer: list[Value], *, lr: Value, betas: tuple[Value, ...]
    ) -> tuple[Value, list[Value]]:
        """The update above."""
        velocities = [beta * v + g for beta, v in zip(betas, momentum_buffer, strict=True)]
        summed = gain(sum(velocities[1:], velocities[0]), sum(1 / (1 - beta) for beta in betas) / len(betas))
        return p - lr / len(betas) * summed, velocities
