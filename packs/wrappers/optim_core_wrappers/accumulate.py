"""Gradient accumulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog import Need
from optim_core.methods import hyper, memory_dtype, store_whole
from optim_core.optimizers import Explanation, RuleOptimizer, check_dense, parameters
from optim_core.wrapping import Wrapper

_ONE_CALL = (
    "so one call has to see all micro-batches: without this wrapper, let the closure of minimize() yield the loss of "
    "each, divided by their number"
)


class Accumulate(Wrapper):
    """Steps once for several micro-batches, with the mean (or sum) of their gradients.

    Each ``step()``, and each ``minimize(closure)``, takes in the gradients at hand, and leaves None in their place, so
    that nothing is counted twice, whether or not the loop calls ``zero_grad()``. Every n-th call steps the base::

        for x, y in micro_batches:
            optimizer.minimize(lambda: loss_function(model(x), y))      # or zero_grad(), backward(), step()
            if optimizer.stepped:
                scheduler.step()
        optimizer.flush()                                               # what an incomplete window holds

    A scheduler counts its own calls: call it where ``stepped`` says that the weights have moved, and give it the number
    of these steps. All other wrappers, inside and outside, act on those steps only: clipping sees the mean, Lookahead
    and EMA count windows. What needs a closure or several losses (SAM, PCGrad) acts on each micro-batch by itself.

    * A parameter without gradient in some micro-batches counts as 0 there; without any in all of them it is not
      stepped. One that joins by ``add_param_group`` in mid-window likewise.
    * ``flush()``, of the outermost wrapper, steps with the mean of the micro-batches so far, even if there are fewer
      than n, and returns whether there were any.
    * GradScaler: gradients are taken in unscaled, so its factor may change in mid-window. A micro-batch with inf or nan
      is left out, does not count, and the window goes on.
    * Methods that use the loss (ALI-G) get its mean or sum over the window, if every micro-batch came with a closure.
      Sophia-G's estimate is of the first micro-batch of a window: ``bs`` counts the labels of that one.
    * Memory: one tensor per parameter, float32 for parameters of lower precision. It is part of the state dict, so that
      training resumes in mid-window.

    Methods that evaluate a step's loss more than once or differentiate its gradients (SAM inside this wrapper, ASGD,
    AdaHessian) have to see all micro-batches in one call. They do without this wrapper: let the closure of ``minimize``
    yield the loss of each, divided by their number.

    Raises:
        WrapperConflict: the base is one of those.
        SparseGradient: by ``step()``, before anything is taken in.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = Accumulate(torch.optim.SGD([weight], lr=0.5), steps=2)
        >>> for x in (1.0, 3.0):
        ...     _ = optimizer.minimize(lambda: (x * weight).sum())
        ...     print(weight.item())
        1.0
        0.0

    Source: common practice; on the mean, Goyal et al., Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour,
    2017, https://arxiv.org/abs/1706.02677, Remark 3.
    """

    steps: int = hyper(4, "micro-batches in a step of the base", ge=1)
    reduction: str = hyper("mean", "how their gradients are merged", choices=("mean", "sum"))

    accumulates: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    keeps = ("sum", "taken")
    refuses: ClassVar[Mapping[Need, str]] = {
        "closure": f"evaluates the loss more than once a step, {_ONE_CALL}",
        "create_graph": f"differentiates the gradients, {_ONE_CALL}",
    }

    def on_wrap(self) -> None:
        """Begin a window."""
        super().on_wrap()
        self._open()
        self._reset()

    def _reset(self) -> None:
        self._loss: Any = None
        self._flushing = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reset()

    def _open(self) -> None:
        self.counters.update(taken=0, losses=0)
        for p in parameters(self):
            if "taken" in self.memory[p]:
                self.memory[p]["taken"] = 0

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """Empty sums."""
        super().start_memory(params)
        for p in params:
            if "sum" not in self.memory[p]:
                self.memory[p].update(sum=torch.zeros_like(p, dtype=memory_dtype(p)), taken=0)
            if p is parameters(self)[0]:
                self.memory[p].setdefault("loss", store_whole(0.0, p.device))

    @contextmanager
    def flushing(self) -> Iterator[bool]:
        """For the time of a ``with``, :meth:`prepare` makes a step of the window as it is; True if it has begun."""
        self._flushing = self.counters["taken"] > 0
        try:
            yield self._flushing
        finally:
            self._flushing = False

    # taking in ----------------------------------------------------------------------------------------------
    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave the gradients of one micro-batch, and remember its loss."""
        self._loss = None  # an evaluation that fails leaves none
        self._loss = super().collect(run)
        return self._loss

    def prepare(self, overflow: bool | None) -> bool:
        """Take the gradients in; there is a step if that was the last micro-batch of a window."""
        if self._flushing:
            return super().prepare(overflow)
        loss, self._loss = self._loss, None
        params = [p for p in parameters(self) if p.grad is not None]
        for p in params:
            check_dense(p, self.method.name)
        fine = super().prepare(overflow)
        if fine:
            self._take(params)
            self._take_loss(loss)
            self.counters["taken"] += 1
        for p in params:
            p.grad = None
        return fine and self.counters["taken"] >= self.options["steps"]

    def _take(self, params: list[Tensor]) -> None:
        sums, more = [], []
        for p in params:
            mine = self.memory[p]
            taken = mine.get("taken", 0)
            if p.grad is None:
                continue
            if taken:
                sums.append(mine["sum"])
                more.append(p.grad)
            elif "sum" in mine:
                mine["sum"].copy_(p.grad)
            else:
                mine["sum"] = p.grad.to(memory_dtype(p), copy=True)
            mine["taken"] = taken + 1
        if sums:
            torch._foreach_add_(sums, more)

    def _take_loss(self, loss: Any) -> None:
        if not isinstance(loss, Real) and not (isinstance(loss, Tensor) and loss.numel() == 1):
            return
        first = parameters(self)[0]
        value = store_whole(loss, first.device)
        mine = self.memory[first]
        # it is gone where the first parameter has been exchanged for another one since
        mine["loss"] = mine["loss"] + value if self.counters["losses"] and "loss" in mine else value
        self.counters["losses"] += 1

    # stepping -----------------------------------------------------------------------------------------------
    def apply(self) -> None:
        """Step the base with the gradients of the window, which stays as it is if that fails."""
        number = self.counters["taken"] if self.options["reduction"] == "mean" else 1
        own = [(p, p.grad) for p in parameters(self)]
        window = {p: self.memory[p]["sum"] for p, _ in own if self.memory[p].get("taken")}
        sums = list(window.values())
        if sums:
            torch._foreach_div_(sums, number)
        try:
            for p, _ in own:
                p.grad = window[p].to(p.dtype) if p in window else None
            self._hand_on_loss(number)
            super().apply()
        except BaseException:
            if sums:
                torch._foreach_mul_(sums, number)
            raise
        finally:
            for p, g in own:
                p.grad = g
        self._open()

    def _hand_on_loss(self, number: int) -> None:
        """Give a method that uses the loss that of the window; None if a micro-batch came without one."""
        inside, losses = self.innermost, self.counters["losses"]
        if losses and isinstance(inside, RuleOptimizer):
            loss = self.memory[parameters(self)[0]]["loss"] / number if losses == self.counters["taken"] else None
            inside.collect(lambda: loss)

    # showing ------------------------------------------------------------------------------------------------
    def explain(self) -> Explanation:
        """As every wrapper does; the buffer counts as state."""
        rows = zip(super().explain(), parameters(self), strict=True)
        return Explanation(
            tuple(replace(row, state_bytes=row.state_bytes + p.numel() * memory_dtype(p).itemsize) for row, p in rows)
        )
