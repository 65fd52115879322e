"""EMA-Nesterov."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog import Need
from optim_core.errors import ClosureError, WrapperConflict
from optim_core.methods import hyper, memory_dtype
from optim_core.optimizers import Evaluations, parameters
from optim_core.wrapping import Wrapper


class EMANesterov(Wrapper):
    """Moves the weights ahead along their averaged displacement before gradients are taken: momentum for any method.

    Before the evaluation of step n, within the window, and after the base's step::

        p = p + h d                              start_step < n <= end_step;   h = lookahead (lr / initial lr)
        d = beta d + (1 - beta) (p - p of the last step's end)

    The move is not undone: it is part of the displacement that is averaged, so with h of 1 or more it would never die
    out. Weights are evaluated and saved as they are after a step, before the next move. A scheduler has to have set the
    lr of the step before. All parameters are moved, those without a gradient by an average that decays.

    The move comes before the evaluation: ``minimize(closure)``, or ``step(closure)``; by hand, as with GradScaler::

        optimizer.move_ahead()
        scaler.scale(loss_function(model(x), y)).backward()
        scaler.step(optimizer)

    Raises:
        WrapperConflict: the base has no lr that h could go by: give scale_with_lr=False.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([0.0]))
        >>> optimizer = EMANesterov(torch.optim.SGD([weight], lr=1.0), lookahead=0.5, beta=0.5)
        >>> for _ in range(2):
        ...     _ = optimizer.minimize(lambda: weight.sum())
        >>> weight.item()  # -1, moved by half of the average -0.5, and -1 again
        -2.25

    Source: EMA-Nesterov, 2026, https://arxiv.org/abs/2605.25395; window and lr as in the author's records.
    """

    elementwise: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"closure"})

    lookahead: float = hyper(0.3, "length of the move in averaged displacements", ge=0, search=(0.1, 0.6))
    beta: float = hyper(0.99, "decay of the averaged displacement", ge=0, lt=1)
    start_step: int = hyper(0, "moves begin after this step", ge=0)
    end_step: int | None = hyper(None, "the last step with a move; None: all of them", ge=0)
    scale_with_lr: bool = hyper(True, "lookahead follows the schedule of the first group's lr")

    keeps = ("previous", "displacement")

    def on_wrap(self) -> None:
        """Count steps from here.

        Raises:
            WrapperConflict: there is no lr to go by.
        """
        super().on_wrap()
        first = self.param_groups[0]
        initial = first.get("initial_lr", first.get("lr"))
        if self.options["scale_with_lr"] and not initial:
            raise WrapperConflict(f"EMANesterov goes by lr, which is {initial!r} at first: give scale_with_lr=False")
        self.counters.update(steps=0, initial_lr=float(initial or 1.0))
        self._reset()

    def _reset(self) -> None:
        #: the weights before a move; None if there was none since the last step
        self._before: list[tuple[Tensor, Tensor]] | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reset()

    @property
    def needs_closure(self) -> bool:
        """True unless :meth:`move_ahead` has been called for this step, or the base needs one."""
        return self._before is None or self.base_steps.needs_closure

    @torch.no_grad()
    def move_ahead(self) -> None:
        """Make the move of the next step, in a loop that calls ``backward()`` and ``step()`` itself.

        Raises:
            ClosureError: it has been made.
        """
        if self._before is not None:
            raise ClosureError("EMANesterov has moved the weights already: call backward(), then step()")
        self._before = [(p, p.detach().clone()) for p in parameters(self)]
        self._move()

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The weights as they are, and no displacement."""
        super().start_memory(params)
        for p in params:
            if "previous" not in self.memory[p]:
                now = p.detach().to(memory_dtype(p), copy=True)
                self.memory[p]["previous"], self.memory[p]["displacement"] = now, torch.zeros_like(now)

    def collect(self, run: Callable[[], Any]) -> Any:
        """Move ahead, then take gradients.

        Raises:
            ClosureError: the closure adds to gradients that were there before, of weights that had not moved.
        """
        if self._before is not None:
            return super().collect(run)
        inner = super().collect
        self.move_ahead()
        try:
            return Evaluations(self, lambda: inner(run), self.method.name).anew()
        except BaseException:
            self._go_back()
            raise

    @torch.no_grad()
    def _move(self) -> None:
        done, end = self.counters["steps"], self.options["end_step"]
        if done and done >= self.options["start_step"] and (end is None or done < end):
            h = self.options["lookahead"]
            if self.options["scale_with_lr"]:
                h *= float(self.param_groups[0]["lr"]) / self.counters["initial_lr"]
            for p in parameters(self):
                if "displacement" in self.memory[p]:
                    p.add_(self.memory[p]["displacement"], alpha=h)

    def prepare(self, overflow: bool | None) -> bool:
        """Go back from the move if there is no step."""
        ready = super().prepare(overflow)
        if not ready:
            self._go_back()
        self._before = None
        return ready

    @torch.no_grad()
    def _go_back(self) -> None:
        for p, before in self._before or ():
            p.copy_(before)
        self._before = None

    def apply(self) -> None:
        """A step of the base, and the average of what it and the move have done."""
        if not self.counters["steps"]:  # the weights may have been loaded since the memory was created
            for p in parameters(self):
                self.memory[p].pop("previous", None)
        self.start_memory(parameters(self))
        super().apply()
        self.counters["steps"] += 1
        for p in parameters(self):
            previous = self.memory[p]["previous"]
            now = p.detach().to(previous.dtype)
            self.memory[p]["displacement"].lerp_(now - previous, 1 - self.options["beta"])
            previous.copy_(now)
