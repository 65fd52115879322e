"""LBFGS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, extra, hyper, state
from optim_core.errors import ClosureError
from optim_core.methods import compute_dtype, real
from optim_core.optimizers import Evaluations, GlobalStreams, check_gradient, count_passes, parameters
from optim_core.rules import Value
from optim_core_second_order.lbfgs_search import Found, Loss, Vector, searched


class LBFGS(RuleOptimizer):
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

    lr: float = hyper(1.0, "step size; with a search its first trial", ge=0, search=(1e-2, 1.0))
    max_iter: int = hyper(20, "iterations in a step", ge=1, common=True)
    max_eval: int | None = hyper(None, "evaluations in a step; None for 5/4 of the iterations", ge=1, common=True)
    tolerance_grad: float = hyper(1e-7, "largest element of a gradient that is zero", ge=0, common=True)
    tolerance_change: float = hyper(1e-9, "change of loss or parameters that is none", ge=0, common=True)
    history_size: int = hyper(100, "pairs that are kept", ge=1, common=True)
    line_search_fn: str | None = hyper(None, "how t is found; None: it is lr", choices=("strong_wolfe",), common=True)

    move = extra("from the point before the step to that after it")
    prev_grad = state("gradient at the beginning of the last iteration")
    prev_step = state("move of the last iteration")
    old_dirs = state("changes of the gradient, in a ring", copies="history_size")
    old_stps = state("moves, in a ring", copies="history_size")
    pairs = state("pairs so far", level="whole")
    iterations = state("iterations so far", level="whole")

    needs = frozenset({"closure"})

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        self._found: tuple[Sequence[Tensor], Found | None] | None = None

    def on_group(self, group: dict[str, Any]) -> None:
        """Count what accumulates in gradients."""
        super().on_group(group)
        count_passes(group["params"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the parameters to where the evaluations have led."""
        if closure is None and self._found is None:
            raise ClosureError(
                f"{self.method.name} evaluates the loss several times a step: use optimizer.minimize(closure), or "
                "step(closure) with a closure that zeroes the gradients, computes the loss and calls backward"
            )
        loss = super().step(closure)
        self._found = None
        return loss

    def collect(self, run: Callable[[], Any]) -> Any:
        """Find the move, and leave the gradients where it starts; parameters and states stay as they are."""
        self._found = None  # an evaluation that fails leaves none
        self.follow_parameters()
        inner, params = super().collect, parameters(self)
        evaluations = Evaluations(self, lambda: inner(run), self.method.name)
        streams = GlobalStreams(params)
        value = evaluations.first()
        if evaluations.passes != 1:
            raise ClosureError(
                f"{self.method.name} evaluates the loss several times a step, and the closure adds to gradients that "
                "were there before: have it call optimizer.zero_grad() first; to accumulate, have the closure of "
                "optimizer.minimize(closure) yield the loss in parts"
            )
        for p in params:
            check_gradient(p, self.method.name)

        def again() -> Any:
            with streams.again():
                return evaluations.alone()

        loss = Loss(self, again)
        start, iterations = loss.measured(value), int(self.whole["iterations"])
        last = (self._held("prev_grad", loss.params), self._held("prev_step", loss.params))
        history = self._history(loss.params)
        with loss.there_and_back():
            found = searched(loss, start, self.param_groups[0], history=history, last=last, iterations=iterations)
        self._found = (loss.params, found)
        return value

    def _history(self, params: Sequence[Tensor]) -> Iterator[tuple[Vector, Vector]]:
        """The pairs that are kept, the oldest first; a parameter that has joined since has zeros in them."""
        count, size = int(self.whole["pairs"]), self.param_groups[0]["history_size"]
        for k in range(max(0, count - size), count):
            yield self._held(f"old_dirs_{k % size}", params), self._held(f"old_stps_{k % size}", params)

    def _held(self, key: str, params: Sequence[Tensor]) -> Vector:
        """A state of each parameter, zeros where there is none."""
        return [
            self.state[p][key]
            if p in self.state and key in self.state[p]
            else torch.zeros_like(real(p.detach()), dtype=compute_dtype(real(p)))
            for p in params
        ]

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The move; the history takes in what has been found."""
        movers, found = self._found or ((), None)
        if found is None:
            return {}
        self.begin()
        first, size = int(self.whole["pairs"]), self.param_groups[0]["history_size"]
        vectors: dict[str, Vector] = {}
        for k, (y, s) in enumerate(found.new_pairs, start=first):
            vectors |= {f"old_dirs_{k % size}": y, f"old_stps_{k % size}": s}
        vectors |= {"prev_grad": found.gradient, "prev_step": found.step}  # the last: pairs may be made of the old ones
        for key, vector in vectors.items():
            for p, x in zip(movers, vector, strict=True):
                self.state[p][key].copy_(x)
        counts = {"pairs": first + len(found.new_pairs), "iterations": found.iterations}
        for name, count in counts.items():  # on the CPU, since the host reads it
            self.set_whole(name, torch.tensor(float(count), dtype=torch.float64, device="cpu"))
        moves = dict(zip(movers, found.move, strict=True))
        return {"move": [moves[p] if p in moves else torch.zeros_like(real(p)) for p in params]}

    @staticmethod
    def rule(p: Value, g: Value, move: Value | None) -> Value:
        """The update above."""
        del g
        return p if move is None else p + move
