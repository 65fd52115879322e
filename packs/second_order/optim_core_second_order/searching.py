"""The common part of methods that search for a move by evaluating the loss: LBFGS and nonlinear conjugate gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, extra, hyper
from optim_core.errors import ClosureError
from optim_core.methods import compute_dtype, real
from optim_core.optimizers import Evaluations, GlobalStreams, check_gradient, count_passes, parameters
from optim_core.rules import Value
from optim_core_second_order.search import Loss, Vector


class Searching(RuleOptimizer):
    """Evaluates the loss several times from where the parameters are, and makes one move of what it has found.

    Subclasses have :meth:`search` and :meth:`take_in`.
    """

    lr: float = hyper(1.0, "step size; with a search its first trial", ge=0, search=(1e-2, 1.0))
    max_iter: int = hyper(20, "iterations in a step", ge=1, common=True)
    max_eval: int | None = hyper(None, "evaluations in a step; None for 5/4 of the iterations", ge=1, common=True)
    tolerance_grad: float = hyper(1e-7, "largest element of a gradient that is zero", ge=0, common=True)
    tolerance_change: float = hyper(1e-9, "change of loss or parameters that is none", ge=0, common=True)

    move = extra("from the point before the step to that after it")

    needs = frozenset({"closure"})
    compares_losses = True

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        self._found: tuple[Sequence[Tensor], Any] | None = None

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
        start = loss.measured(value)
        with loss.there_and_back():
            self._found = (loss.params, self.search(loss, start))
        return value

    @abstractmethod
    def search(self, loss: Loss, start: tuple[float, Vector]) -> Any:
        """Find a move.

        Args:
            loss: the parameters lie at the first point, and come back there.
            start: loss and gradient there.

        Returns:
            Something with a ``move``, for :meth:`take_in`; None if there is nothing to do.
        """

    @abstractmethod
    def take_in(self, movers: Sequence[Tensor], found: Any) -> None:
        """Put what has been found into the states, which there are.

        Args:
            movers: the parameters that it is about.
            found: what :meth:`search` has returned.
        """

    def put(self, movers: Sequence[Tensor], **vectors: Vector) -> None:
        """Give states of parameters values."""
        for key, vector in vectors.items():
            for p, x in zip(movers, vector, strict=True):
                self.state[p][key].copy_(x)

    def put_numbers(self, **numbers: float) -> None:
        """Give states of the model as a whole values, on the CPU, since the host reads them."""
        for name, number in numbers.items():
            self.set_whole(name, torch.tensor(float(number), dtype=torch.float64, device="cpu"))

    def held(self, key: str, params: Sequence[Tensor]) -> Vector:
        """A state of each parameter, zeros where there is none."""
        return [
            self.state[p][key]
            if p in self.state and key in self.state[p]
            else torch.zeros_like(real(p.detach()), dtype=compute_dtype(real(p)))
            for p in params
        ]

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The move; the states take in what has been found."""
        movers, found = self._found or ((), None)
        if found is None:
            return {}
        self.begin()
        self.take_in(movers, found)
        moves = dict(zip(movers, found.move, strict=True))
        return {"move": [moves[p] if p in moves else torch.zeros_like(real(p)) for p in params]}

    @staticmethod
    def rule(p: Value, g: Value, move: Value | None) -> Value:
        """The update above."""
        del g
        return p if move is None else p + move
