"""Evaluating the user's closure, so that every optimizer gets the gradients that it needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.errors import ClosureError
from optim_core.optimizers.gradients import parameters


class Passes:
    """How an evaluation begins, and how it calls backward; hosts have ways of their own."""

    def begin(self, optimizer: Optimizer) -> None:
        """Zero the gradients."""
        optimizer.zero_grad()

    def backward(self, loss: Tensor, **how: Any) -> None:
        """Accumulate gradients; ``how`` as for ``Tensor.backward``."""
        loss.backward(**how)  # type: ignore[no-untyped-call]


_PLAIN = Passes()
_passes: ContextVar[Passes] = ContextVar("passes", default=_PLAIN)


@contextmanager
def passes(way: Passes) -> Iterator[None]:
    """For the time of a ``with``, have evaluations begin and call backward in a certain way."""
    token = _passes.set(way)
    try:
        yield
    finally:
        _passes.reset(token)


def call_closure(optimizer: Optimizer, closure: Callable[[], Any]) -> Any:
    """Zero the gradients and call the closure with gradients enabled.

    Raises:
        ClosureError: the closure has called backward itself.
    """
    _passes.get().begin(optimizer)
    before = _versions(optimizer)
    with torch.enable_grad():
        result = closure()
    if _versions(optimizer) != before:
        raise ClosureError(_OWN_BACKWARD)
    return result


def that_evaluates(optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
    """A closure of ``step(closure)`` that is refused if it neither returns a loss nor touches the gradients.

    Lightning passes such a one for its own ends when it optimises manually; whoever evaluates the loss more than once
    would take it for an evaluation.
    """

    def run() -> Any:
        before = _versions(optimizer)
        loss = closure()
        if loss is None and any(before) and _versions(optimizer) == before:
            raise ClosureError(
                f"{type(optimizer).__name__} evaluates the loss more than once a step, but the closure of "
                "step(closure) does nothing: use optim_core.minimize(optimizer, closure), in Lightning's manual "
                "optimisation with self.optimizers()"
            )
        return loss

    return run


_OWN_BACKWARD = (
    "the closure of minimize() has called backward(); it should only compute and return the loss "
    "(a closure that does everything goes to step(closure))"
)


def single_loss(loss: Any, optimizer: Optimizer) -> Tensor:
    """Return the loss, if it is one.

    Raises:
        ClosureError: it is none, several, or not a 0-d tensor with a graph.
    """
    name = type(optimizer).__name__
    if isinstance(loss, (list, tuple)):
        raise ClosureError(
            f"the closure returned {len(loss)} losses, but {name} takes one: add them up, or put a wrapper for "
            "several losses around it, such as optim_core.get_wrapper('pcgrad')"
        )
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise ClosureError(f"the closure should return the loss, a 0-d tensor, for {name}; it returned {shape}")
    if not loss.requires_grad:
        raise ClosureError(
            f"the closure returned a loss without a graph, so {name} has nothing to differentiate: it must compute "
            "the loss from the parameters, not under no_grad, and not detached"
        )
    return loss


def backward(loss: Tensor, *, create_graph: bool, retain_graph: bool | None = None) -> None:
    """Accumulate gradients; with a graph of their own where a second-order method needs it."""
    how = {} if retain_graph is None else {"retain_graph": retain_graph}
    if not create_graph:
        _passes.get().backward(loss, **how)
        return
    with warnings.catch_warnings():
        # torch warns of the cycle between a parameter and its gradient's graph; drop_graph breaks it
        warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
        _passes.get().backward(loss, create_graph=True, **how)


def drop_graph(tensors: Iterable[Tensor]) -> None:
    """Release the graphs that gradients carry; the gradients' memory stays the same."""
    for p in tensors:
        if p.grad is not None and p.grad.grad_fn is not None:
            p.grad = p.grad.detach()


def evaluate(optimizer: Optimizer, closure: Callable[[], Any], *, create_graph: bool = False) -> Tensor:
    """Zero gradients, evaluate, backward.

    Args:
        closure: returns the loss; or yields it in parts, whose sum it is: each is differentiated, and its graph
            released (unless a method needs it), before the next is computed.

    Returns:
        The loss, detached.

    Raises:
        ClosureError: the closure returns or yields something else, or has called backward itself.
    """
    result = call_closure(optimizer, closure)
    if isinstance(result, Iterator):
        return _evaluate_parts(optimizer, result, create_graph=create_graph)
    loss = single_loss(result, optimizer)
    backward(loss, create_graph=create_graph)
    return loss.detach()


def _evaluate_parts(optimizer: Optimizer, parts: Iterator[Any], *, create_graph: bool) -> Tensor:
    total: Tensor | None = None
    with torch.enable_grad():
        versions = _versions(optimizer)
        for part in parts:
            if _versions(optimizer) != versions:
                raise ClosureError(_OWN_BACKWARD)
            loss = single_loss(part, optimizer)
            backward(loss, create_graph=create_graph)
            total = loss.detach() if total is None else total + loss.detach()
            versions = _versions(optimizer)
    if total is None:
        raise ClosureError("the closure of minimize() has yielded no part of the loss: there is nothing to step with")
    return total


def _versions(optimizer: Optimizer) -> list[tuple[int, int] | None]:
    return [None if p.grad is None else (id(p.grad), p.grad._version) for p in parameters(optimizer)]
