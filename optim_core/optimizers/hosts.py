"""What hosts put in front of an optimizer (Lightning, accelerate): a proxy, whose own ``step`` is the one to call.

No host is imported: a proxy is told by what it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.errors import ClosureError
from optim_core.optimizers import closures
from optim_core.optimizers.beginning import or_begins
from optim_core.optimizers.needs import needs_of
from optim_core.optimizers.threads import in_one_thread

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Keeps a step out of the graphs of ``torch.compile``, which would trace all of the bookkeeping, and again whenever a
#: number changes. (``torch.compiler.disable`` is the same, but imports the compiler together with this module.)
outside_graphs: Callable[[_Function], _Function] = getattr(torch, "_disable_dynamo")  # noqa: B009 - not in its types


class Hosted:
    """An optimizer that works through a proxy too, even one whose class is derived from its own (Lightning's).

    Such a proxy runs the optimizer's methods with itself as ``self``. What they keep belongs to the optimizer: on the
    proxy it would hide the optimizer's own from then on.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Keep a step of its own out of graphs, in one thread, and from more than a beginning where there is none."""
        super().__init_subclass__(**keywords)
        step = vars(cls).get("step")
        if step is not None:
            cls.step = outside_graphs(in_one_thread(or_begins(step)))  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        own = vars(self)
        inner = own.get("_optimizer")
        if inner is None or name in own:
            super().__setattr__(name, value)
        else:
            setattr(inner, name, value)


def behind(optimizer: Any) -> Optimizer | None:
    """The optimizer that a proxy stands for, or None if this is not a proxy."""
    own = vars(optimizer)
    inner = own.get("_optimizer", own.get("optimizer"))
    return inner if isinstance(inner, Optimizer) else None


def hosted(optimizer: Any) -> Any:
    """The optimizer behind all proxies; itself, if there are none."""
    inner = behind(optimizer)
    return optimizer if inner is None else hosted(inner)


def minimize(proxy: Any, closure: Callable[[], Any]) -> Any:
    """Do everything for one step through a proxy, as its host does a step.

    Args:
        proxy: what the host hands out in place of the optimizer.
        closure: as for :func:`optim_core.minimize`.

    Returns:
        The loss before the step, detached.

    Raises:
        ClosureError: the host accumulates gradients or scales them, and the optimizer evaluates a step's loss itself.
    """
    optimizer = hosted(proxy)
    losses: list[Any] = []

    def run() -> Any:
        evaluate = getattr(optimizer, "evaluate", None)
        losses.append(closures.evaluate(optimizer, closure) if evaluate is None else evaluate(closure))
        return losses[-1]

    scaler, parts = getattr(proxy, "scaler", None), _parts(proxy)
    with closures.passes(_HostPasses(proxy, scaler, parts)):
        if scaler is not None or parts > 1:
            _check_parts(optimizer, scaled=scaler is not None)
        elif hasattr(proxy, "_strategy") or not hasattr(optimizer, "collected"):
            loss = proxy.step(run)
            return losses[0] if loss is None else loss
        loss = getattr(optimizer, "collected", _collected)(run, proxy.step)
        if parts > 1:
            proxy.zero_grad()  # accelerate's own does so at the end of a window only
    return loss


def _collected(run: Callable[[], Any], step: Callable[[], Any]) -> Any:
    loss = run()
    step()
    return loss


def _parts(proxy: Any) -> int:
    """How many micro-batches make a step, as far as accelerate says."""
    return int(getattr(getattr(proxy, "gradient_state", None), "num_steps", 1))


def _check_parts(optimizer: Any, *, scaled: bool) -> None:
    for need, reason in _WHOLE_STEP.items():
        if need in needs_of(optimizer) and (need != "loss" or not scaled):
            name = type(optimizer).__name__
            raise ClosureError(
                f"{name} {reason}, but here the host {'scales' if scaled else 'accumulates'} gradients: use bfloat16 "
                "or float32, and let the closure of minimize() yield the loss of each micro-batch, divided by their "
                "number, in place of the host's accumulation"
            )


_WHOLE_STEP = {
    "closure": "evaluates the loss of a step itself",
    "multi_loss": "makes one gradient of several losses",
    "create_graph": "differentiates the gradients of a step",
    "loss": "goes by the loss of a step",
}


class _HostPasses(closures.Passes):
    """Passes as a host has them: scaled, in parts, with its communication."""

    def __init__(self, proxy: Any, scaler: Any, parts: int) -> None:
        self._strategy = getattr(proxy, "_strategy", None)
        self._scaler = scaler
        self._parts = parts

    def begin(self, optimizer: Optimizer) -> None:
        """Zero the gradients, unless they are those of other micro-batches."""
        if self._parts == 1:
            super().begin(optimizer)

    def backward(self, loss: Tensor, **how: Any) -> None:
        """Accumulate gradients."""
        if self._strategy is not None:  # Lightning's
            self._strategy.backward(loss, None, **how)
            return
        loss = loss / self._parts if self._parts > 1 else loss
        super().backward(loss if self._scaler is None else self._scaler.scale(loss), **how)
