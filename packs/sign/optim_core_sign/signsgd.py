"""SignSGD and Signum."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, lerp, sign


class SignSGD(RuleOptimizer):
    """Sign of the average gradient (Signum), or of the gradient itself with momentum=0: every element moves by lr.

    ::

        m = momentum m + (1 - momentum) g
        p = p - lr sign(m)

    sign(0) = 0; under zero gradients Signum goes on moving by lr until m underflows. L2 only acts where it turns the
    sign; decoupled_weight_decay=True, MXNet's wd_lh, shrinks p by 1 - lr*weight_decay instead. The authors' vote of
    several workers is not part of it.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.0]))
        >>> loss = SignSGD([w], lr=0.25).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.75, -1.75, 0.0]

    Source: Bernstein, Wang, Azizzadenesheli and Anandkumar, signSGD: Compressed Optimisation for Non-Convex Problems,
    2018, Algorithms 1 and 2, https://arxiv.org/abs/1802.04434.
    """

    lr: float = hyper(1e-2, "step size: what each element moves by", ge=0, search=(1e-5, 1e-2))
    momentum: float = hyper(0.9, "decay of the average of g, 0 for none", ge=0, lt=1)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")

    momentum_buffer = state("average of g", when="momentum")

    @staticmethod
    def rule(p: Value, g: Value, momentum_buffer: Value, *, lr: Value, momentum: Value) -> tuple[Value, ...]:
        """The update above."""
        if not momentum:
            return p - lr * sign(g), momentum_buffer
        momentum_buffer = lerp(g, momentum_buffer, momentum)
        return p - lr * sign(momentum_buffer), momentum_buffer
