"""ALI-G."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from optim_core import hyper, state
from optim_core.methods import compute_dtype, full_tensor, real
from optim_core.optimizers import parameters
from optim_core.rules import Value, maximum, minimum, square, total
from optim_core_momentum.by_loss import ByLoss


class AliG(ByLoss):
    """SGD whose step size follows from the loss, for models that can bring the loss of each batch to zero.

    With f the loss and |g| the norm of all gradients of all groups::

        s = min(f / (|g|^2 + eps), max_lr)              0 where f < 0
        p = p - s g
        b = momentum b - s g,    p = p + momentum b     with momentum
        b = momentum b - g,      p = p + s momentum b   with adjusted_momentum
        all p together onto the ball of radius max_norm, at construction too

    f is a part of the step: :class:`~optim_core_momentum.by_loss.ByLoss` tells how it is handed over. It must not hold
    an L2 term: limit the norm by max_norm instead.

    Give a max_lr where the loss does not come near zero; the free step is chaotic then.

    lr is the bound in force: max_lr by another name, for schedulers. Without a bound it is a factor on s. With lr = 0
    nothing moves. A projection of one's own goes into ``optimizer.register_step_post_hook``. The authors' class calls
    it projection_fn, has no lr, and ascends where the loss is negative.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AliG([w]).minimize(lambda: w.square().sum())  # f = 5, |g|^2 = 20
        >>> [round(x, 3) for x in w.tolist()]
        [0.5, -1.0]

    Source: Berrada, Zisserman and Kumar, Training Neural Networks for and by Interpolation, 2019, Algorithm 1,
    https://arxiv.org/abs/1906.05661; adjusted_momentum as in the authors' code.
    """

    lr: float | None = hyper(
        None, "bound in force, or factor if there is none; None: max_lr, or 1", ge=0, search=(1e-2, 1.0)
    )
    max_lr: float | None = hyper(None, "largest step size, None for any", ge=0)
    momentum: float = hyper(0.0, "Nesterov momentum, 0 for none", ge=0, lt=1)
    eps: float = hyper(1e-5, "added to the squared norm", gt=0)
    adjusted_momentum: bool = hyper(False, "b sums gradients, as in torch's SGD, and not steps")
    max_norm: float | None = hyper(None, "largest norm of all parameters together, None for any", gt=0, common=True)

    momentum_buffer = state("decayed sum of steps, or of -g", when="momentum")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Make lr and max_lr one."""
        if "lr" in given and options["lr"] is not None:
            return options if options["max_lr"] is not None else options | {"max_lr": options["lr"]}
        if "max_lr" in given or options["lr"] is None:
            return options | {"lr": 1.0 if options["max_lr"] is None else options["max_lr"]}
        return options

    def on_group(self, group: dict[str, Any]) -> None:
        """Begin inside of the ball."""
        super().on_group(group)
        self._project()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients and the loss."""
        given = super().step(closure)
        self._project()
        return given

    @torch.no_grad()
    def _project(self) -> None:
        radius = self.param_groups[0]["max_norm"]
        params = [real(p) for p in parameters(self)] if radius is not None else []
        if params:
            norms = [full_tensor(torch.linalg.vector_norm(p, dtype=compute_dtype(p))) for p in params]
            norms = [x.to(params[0].device) for x in norms]
            factor = (radius / torch.linalg.vector_norm(torch.stack(norms))).clamp(max=1)
            for p in params:
                p.mul_(factor.to(p.device))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        loss: Value,
        *,
        lr: Value,
        max_lr: Value | None,
        momentum: Value,
        eps: Value,
        adjusted_momentum: bool,
        maximize: bool,
    ) -> tuple[Value, ...]:
        """The update above."""
        s = maximum(-loss if maximize else loss, 0.0) / (total(square(g)) + eps)
        s = lr * s if max_lr is None else minimum(s, lr)
        if not lr:
            return p, momentum_buffer, loss
        p = p - s * g
        if not momentum:
            return p, momentum_buffer, loss
        if adjusted_momentum:
            momentum_buffer = momentum * momentum_buffer - g
            return p + s * momentum * momentum_buffer, momentum_buffer, loss
        momentum_buffer = momentum * momentum_buffer - s * g
        return p + momentum * momentum_buffer, momentum_buffer, loss
