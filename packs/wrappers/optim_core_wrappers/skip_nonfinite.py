"""Leaving out steps that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.errors import InvalidOption, NotFinite
from optim_core.optimizers import any_rank, parameters
from optim_core.wrapping import Wrapper


class SkipNonFinite(Wrapper):
    """Leaves a step out where the loss or a gradient is not finite: no parameter, state or count changes.

    ``optimizer.stepped`` tells, as after an overflow of a GradScaler, whose left-out steps count here too. All wrappers
    leave the step out alike, wherever they stand. ``optimizer.left_out`` counts such calls, and ``optimizer.in_a_row``
    those since the last step; both are in the state dict. When more than ``patience`` (25) follow each other training
    does not recover by itself, and it raises. (A GradScaler may need some sixteen to find its first factor.)

    The loss is looked at where it is known: in ``minimize(closure)`` and ``step(closure)``. Where ranks train together
    (DDP, FSDP) all leave the step out if one of them has to, at the price of one number that they exchange; a rank by
    itself says ``optimizer.innermost.process_group = None``. Looking means that the host waits for the gradients.

    Raises:
        NotFinite: by the step, when ``patience`` is at an end. Parameters are still as after the last step.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = SkipNonFinite(torch.optim.SGD([weight], lr=0.5))
        >>> for factor in (1.0, float("nan")):
        ...     _ = optimizer.minimize(lambda: factor * weight.sum())
        >>> weight.item(), optimizer.stepped, optimizer.left_out
        (0.5, False, 1)

    Source: common practice; optax calls it apply_if_finite, and after its patience lets such steps through.
    """

    elementwise: ClassVar[bool] = True

    patience: int = 25
    arguments: ClassVar[tuple[str, ...]] = ("patience",)

    def on_wrap(self) -> None:
        """Count from here.

        Raises:
            InvalidOption: ``patience`` is not a number of calls.
        """
        given: Any = self.patience
        if not isinstance(given, int) or given < 0:
            raise InvalidOption(
                f"{self.method.name}: patience={self.patience!r} should be a number of calls, such as 25"
            )
        super().on_wrap()
        self.counters.update(left_out=0, in_a_row=0)
        self._loss: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._loss = None

    @property
    def left_out(self) -> int:
        """How many calls were no step, because of what was not finite."""
        return int(self.counters["left_out"])

    @property
    def in_a_row(self) -> int:
        """How many of them have come since the last step."""
        return int(self.counters["in_a_row"])

    def collect(self, run: Callable[[], Any]) -> Any:
        """As without this wrapper; the loss is kept for the decision."""
        self._loss = None
        self._loss = super().collect(run)
        return self._loss

    def prepare(self, overflow: bool | None) -> bool:
        """Decide whether the gradients at hand make a step.

        Raises:
            NotFinite: there have been too many in a row that do not.
        """
        loss, self._loss = self._loss, None
        strange = any_rank(bool(overflow) or not self._finite(loss), self.innermost)
        ready = super().prepare(True if strange else overflow)
        if not strange:
            self.counters["in_a_row"] = 0 if ready else self.in_a_row
            return ready
        self.counters.update(left_out=self.left_out + 1, in_a_row=self.in_a_row + 1)
        if self.in_a_row > self.patience:
            raise NotFinite(
                f"{self.method.name} has left out {self.in_a_row} steps in a row, since the loss or gradients were not "
                f"finite (patience={self.patience}): go back to a checkpoint with a smaller lr, or look for "
                "where it comes from with torch.autograd.set_detect_anomaly(True)"
            )
        return False

    def _finite(self, loss: Any) -> bool:
        gradients = (_local(p.grad.detach()) for p in parameters(self) if p.grad is not None)
        return _all_finite([*_numbers(loss), *(g for g in gradients if g.numel())])


def _numbers(loss: Any) -> Iterator[Tensor]:
    """The losses among what an evaluation has returned."""
    for x in loss if isinstance(loss, (list, tuple)) else [loss]:
        if isinstance(x, Tensor) and x.numel():
            yield _local(x.detach())
        elif isinstance(x, Real):
            yield torch.tensor(float(x), device="cpu")


def _local(x: Any) -> Tensor:
    """The numbers that this process holds of a tensor."""
    held: Tensor = x.to_local() if hasattr(x, "to_local") else x
    return held._values() if held.layout is torch.sparse_coo else held


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    """Waits once for each device."""
    found: dict[torch.device, list[Tensor]] = {}
    for x in tensors:
        found.setdefault(x.device, []).append(torch.isfinite(x).all())
    return all(bool(torch.stack(each).all()) for each in found.values())
