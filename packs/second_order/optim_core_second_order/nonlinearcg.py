"""Nonlinear conjugate gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from optim_core import hyper, state
from optim_core_second_order.conjugate import Found, descended
from optim_core_second_order.search import Loss, Vector
from optim_core_second_order.searching import Searching


class NonlinearCG(Searching):
    """Steps along directions that keep what the last ones have won, with a line search: for losses without noise.

    x is the point, all parameters as one vector, g the gradient there and y its change since the iteration before. A
    step is up to ``max_iter`` iterations, k counting those of all steps::

        d = -g + b d                    d = -g for k = 1, and where that would not descend
        t = min(1, 1 / sum|g|) lr for k = 1, later lr times what promises as much as the last move
        x = x + t d                     t such that loss and slope have fallen enough (strong Wolfe, 1e-4 and c2)

    with b by ``formula``::

        "polak_ribiere"     max(0, <g, y> / |g before|^2)
        "hager_zhang"       <y - 2 d |y|^2 / <d, y>, g> / <d, y>, at least -1 / (|d| min(0.01, |g before|))
        "dai_yuan"          |g|^2 / <d, y>

    It keeps two vectors where LBFGS keeps two hundred, and needs more evaluations. It ends early as LBFGS does: by
    ``tolerance_grad``, ``tolerance_change`` and ``max_eval``. Evaluations need the loss: ``minimize(closure)`` or
    ``step(closure)``, with the same loss at the same point each time; all evaluations of a step see the same random
    numbers. It works on sharded parameters, whose inner products are summed over the ranks. Where groups have different
    lr, their parts of a move are in that proportion. A parameter without gradient in a step stays where it is.

    Raises:
        ClosureError: in a step without a closure, or with one that adds to gradients that were there before.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([-1.0, 1.5], dtype=torch.float64))
        >>> optimizer = NonlinearCG([w])
        >>> for _ in range(8):
        ...     loss = optimizer.minimize(lambda: 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2)
        >>> [round(x, 4) for x in w.tolist()]
        [1.0, 1.0]

    Source: Hager and Zhang, A survey of nonlinear conjugate gradient methods, 2006, equations 1.2, 1.3 and Table 1,
    http://www.ybook.co.jp/online2/oppjo/vol2/p35.html; the truncation from Hager and Zhang, 2005,
    https://doi.org/10.1137/030601880; first trials from Nocedal and Wright, Numerical Optimization, equation 3.60.
    """

    max_iter: int = hyper(4, "iterations in a step", ge=1, common=True)
    max_eval: int | None = hyper(None, "evaluations in a step; None for 3 an iteration", ge=1, common=True)
    formula: str = hyper(
        "polak_ribiere", "how b is found", choices=("polak_ribiere", "hager_zhang", "dai_yuan"), common=True
    )
    c2: float = hyper(0.1, "share of the slope that a line search may leave", gt=1e-4, lt=1, common=True)

    prev_grad = state("gradient at the beginning of the last iteration")
    direction = state("direction of the last iteration")
    promise = state("slope along the last direction, times the length of the move", level="whole")
    iterations = state("iterations so far", level="whole")

    def search(self, loss: Loss, start: tuple[float, Vector]) -> Found | None:
        """The iterations above."""
        last = (self.held("prev_grad", loss.params), self.held("direction", loss.params))
        promise, iterations = float(self.whole["promise"]), int(self.whole["iterations"])
        return descended(loss, start, self.param_groups[0], last=last, promise=promise, iterations=iterations)

    def take_in(self, movers: Sequence[Tensor], found: Found) -> None:
        """What the next direction is made of."""
        self.put(movers, prev_grad=found.gradient, direction=found.direction)
        self.put_numbers(promise=found.promise, iterations=found.iterations)
