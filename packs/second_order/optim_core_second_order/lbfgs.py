"""LBFGS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from optim_core import hyper, state
from optim_core_second_order.lbfgs_search import Found, searched
from optim_core_second_order.search import Loss, Vector
from optim_core_second_order.searching import Searching


class LBFGS(Searching):
    """Quasi-Newton steps from the last changes of the gradient, with a line search: for losses without noise.

    x is the point, all parameters as one vector, g the gradient there. A step is up to ``max_iter`` iterations, k
    counting those of all steps::

        y = g - (g of the iteration before);  s = the move since then
        keep (y, s) if <y, s> > 1e-10, dropping the oldest beyond history_size
        d = -H g            H from the pairs by the two-loop recursion, starting with <y, s> / <y, y> of the last one
        t = lr              min(1, 1 / sum|g|) lr for k = 1
        x = x + t d         with strong_wolfe t is such that loss and slope have fallen enough (c1 = 1e-4, c2 = 0.9)

    It ends early where the gradient's largest element is at most ``tolerance_grad``, where the move, the change of the
    loss or the slope along d is below ``tolerance_change``, and after ``max_eval`` evaluations. They need the loss, so
    ``minimize(closure)`` or ``step(closure)``. The closure has to return the same loss at the same point: use all the
    data, or one batch for a whole step. All evaluations of a step see the same random numbers. Without a search lr = 1
    easily diverges.

    The numbers are those of torch.optim.LBFGS, except where it stops because the slope is too small: it then counts a
    step that it has not made. Besides, this one takes several groups, whose parts of the move are in the proportion of
    their lr; works on sharded parameters; and keeps its history by parameter, in the state dict. A parameter without
    gradient in a step stays where it is. What wrappers see is the gradient at the first point, and one move a step.
    Memory: 2 ``history_size`` + 2 copies of the parameters, from the first step on.

    Raises:
        ClosureError: in a step without a closure, or with one that adds to gradients that were there before.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([-1.0, 1.5], dtype=torch.float64))
        >>> optimizer = LBFGS([w], history_size=10, line_search_fn="strong_wolfe")
        >>> for _ in range(3):
        ...     loss = optimizer.minimize(lambda: 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2)
        >>> [round(x, 4) for x in w.tolist()]
        [1.0, 1.0]

    Source: Liu and Nocedal, On the limited memory BFGS method for large scale optimization, 1989, Algorithm 2.1,
    https://doi.org/10.1007/BF01589116; step sizes, stops and search as in torch.
    """

    history_size: int = hyper(100, "pairs that are kept", ge=1, common=True)
    line_search_fn: str | None = hyper(None, "how t is found; None: it is lr", choices=("strong_wolfe",), common=True)

    prev_grad = state("gradient at the beginning of the last iteration")
    prev_step = state("move of the last iteration")
    old_dirs = state("changes of the gradient, in a ring", copies="history_size")
    old_stps = state("moves, in a ring", copies="history_size")
    pairs = state("pairs so far", level="whole")
    iterations = state("iterations so far", level="whole")

    def search(self, loss: Loss, start: tuple[float, Vector]) -> Found | None:
        """The iterations above."""
        last = (self.held("prev_grad", loss.params), self.held("prev_step", loss.params))
        history, iterations = self._history(loss.params), int(self.whole["iterations"])
        return searched(loss, start, self.param_groups[0], history=history, last=last, iterations=iterations)

    def _history(self, params: Sequence[Tensor]) -> Iterator[tuple[Vector, Vector]]:
        """The pairs that are kept, the oldest first; a parameter that has joined since has zeros in them."""
        count, size = int(self.whole["pairs"]), self.param_groups[0]["history_size"]
        for k in range(max(0, count - size), count):
            yield self.held(f"old_dirs_{k % size}", params), self.held(f"old_stps_{k % size}", params)

    def take_in(self, movers: Sequence[Tensor], found: Found) -> None:
        """The pairs, and what the next one is made of."""
        first, size = int(self.whole["pairs"]), self.param_groups[0]["history_size"]
        for k, (y, s) in enumerate(found.new_pairs, start=first):
            self.put(movers, **{f"old_dirs_{k % size}": y, f"old_stps_{k % size}": s})
        self.put(movers, prev_grad=found.gradient, prev_step=found.step)  # the last: pairs may be made of the old ones
        self.put_numbers(pairs=first + len(found.new_pairs), iterations=found.iterations)
