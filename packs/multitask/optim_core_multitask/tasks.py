"""MultiTask: the base class of wrappers for several losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog import Need
from optim_core.errors import ClosureError, WrapperConflict
from optim_core.optimizers import call_closure
from optim_core.wrapping import Wrapper

#: How DistributedDataParallel says that it has seen another number of backward passes than the one it waits for.
_MISCOUNTED = ("mark a variable ready only once", "finished reduction in the prior iteration")


@contextmanager
def _explained(owner: str) -> Iterator[None]:
    """Say what is to be done where DistributedDataParallel fails.

    Raises:
        ClosureError: with the remedy.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _MISCOUNTED):
            raise
        raise ClosureError(
            f"{owner} goes back through the model once for each task, which DistributedDataParallel takes for an "
            "error; gradients are averaged here: `with model.no_sync(): optimizer.minimize(closure)`"
        ) from error


class MultiTask(Wrapper):
    """Base of the wrappers that make one gradient of several losses; ``minimize(closure)`` takes a list of them.

    By hand: ``optimizer.backward(losses)``, then ``optimizer.step()``. It replaces the gradients that are there, so
    nothing accumulates over several calls. With ``torch.amp.GradScaler``: ``optimizer.backward(losses, scaler)``, then
    ``scaler.step(optimizer)`` and ``scaler.update()``. Subclasses define :meth:`merge`.

    On several ranks gradients are averaged here, task by task, and what is decided follows from the losses of all, so
    that replicas stay the same. DistributedDataParallel has to leave that to it::

        with model.no_sync():
            optimizer.minimize(closure)
    """

    _merged: bool  # True once backward() has run since collect() began, and until the step
    _flushing: bool

    needs = frozenset({"multi_loss"})
    refuses: ClassVar[Mapping[Need, str]] = {
        "create_graph": "differentiates the gradient of one loss; use a first-order method such as adamw",
        "loss": "goes by the loss of its gradient: a gradient merged of several is that of no loss. Add the losses up "
        "and leave this wrapper out, or use a method that goes by gradients alone, such as adamw",
    }

    def merge(self, losses: Sequence[Tensor], scale: Tensor | None) -> None:
        """Leave one gradient in each parameter, that of the losses times the scale, if there is one."""
        raise NotImplementedError

    def backward(self, losses: Sequence[Tensor], scaler: torch.amp.GradScaler | None = None) -> None:
        """Leave the merged gradient of the losses, 0-d tensors on one graph or several; ``step()`` comes next.

        Args:
            losses: one for each task, not scaled.
            scaler: scales the gradients; ``scaler.step(optimizer)`` comes next then.

        Raises:
            ClosureError: there are fewer than two, one is not a 0-d tensor with a graph, or they come from a model in
                DistributedDataParallel that was not told to leave gradients alone.
            SparseGradient: with the remedy.
        """
        name = self.method.name
        if not isinstance(losses, (list, tuple)) or len(losses) < 2:
            raise ClosureError(
                f"{name} takes a list of two or more losses, one for each task; the closure should return that list, "
                f"not {type(losses).__name__}"
            )
        for i, loss in enumerate(losses):
            if not (isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad):
                raise ClosureError(f"{name}: loss {i} is not a 0-d tensor with a graph")
        scale = None if scaler is None else scaler.scale(torch.ones((), device=losses[0].device))
        with _explained(name):
            self.merge(losses, scale)
        self._merged = True

    def evaluate(self, closure: Callable[[], Any]) -> list[Tensor]:
        """Evaluate the losses and leave the merged gradient.

        Raises:
            ClosureError: the closure returned something other than several 0-d losses.
        """
        with _explained(self.method.name):
            losses = call_closure(self, closure)
        self.backward(losses)
        return [loss.detach() for loss in losses]

    def collect(self, run: Callable[[], Any]) -> Any:
        """Refuse torch's own closure, whose single backward leaves nothing to merge."""
        self._merged = False
        result = super().collect(run)
        self._check_merged()
        return result

    def _check_merged(self) -> None:
        if not self._merged:
            raise ClosureError(
                f"{self.method.name} needs each task's own gradient: use optimizer.minimize(closure) with a closure "
                "that returns the list of losses, or optimizer.backward(losses) followed by optimizer.step()"
            )

    # a step without backward() would be the base's own, in silence ---------------------------------------------
    def on_wrap(self) -> None:
        """Begin without gradients.

        Raises:
            WrapperConflict: the method inside compares losses with gradients.
        """
        if getattr(self.innermost, "compares_losses", False):
            name = type(self.innermost).__name__
            raise WrapperConflict(f"{self.method.name} cannot go around {name}, which {self.refuses['loss']}")
        super().on_wrap()
        self._merged = self._flushing = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._merged = self._flushing = False

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse the gradient of a plain backward, in which nothing is merged.

        Raises:
            ClosureError: with the remedy.
        """
        if not self._flushing:  # what waits was merged when it came
            self._check_merged()
        ready = super().prepare(overflow)
        self._merged = self._merged and ready
        return ready

    def apply(self) -> None:
        """The base's step."""
        super().apply()
        self._merged = False

    @contextmanager
    def flushing(self) -> Iterator[bool]:
        """As the base's; what waits there is merged already."""
        with super().flushing() as waiting:
            self._flushing = waiting
            try:
                yield waiting
            finally:
                self._flushing = False
