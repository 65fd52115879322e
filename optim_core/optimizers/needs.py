"""The needs of an optimizer beside gradients, whoever wrote it."""

from __future__ import annotations

import inspect

from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.catalog.registry import registry


def needs_of(optimizer: Optimizer) -> frozenset[Need]:
    """The needs of an optimizer in some steps, with its options in force: keys of :data:`optim_core.catalog.NEEDS`.

    What stands inside a wrapper counts too. A plain class needs what its pack's spec declares; two needs can be told
    without it: ``"closure"`` if ``step`` cannot be called without one (LBFGS), ``"train_eval_mode"`` if there are
    ``train()`` and ``eval()``.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.zeros(2))
        >>> needs_of(torch.optim.LBFGS([w])), needs_of(torch.optim.SGD([w], lr=0.1))
        (frozenset({'closure'}), frozenset())
    """
    in_force = getattr(optimizer, "needs_in_force", None)
    if in_force is not None:
        return in_force()  # type: ignore[no-any-return]
    needs: set[Need] = set(declared_needs(type(optimizer)))
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        needs.add("closure")
    if has_modes(optimizer):
        needs.add("train_eval_mode")
    return frozenset(needs)


def declared_needs(cls: type[Optimizer]) -> frozenset[Need]:
    """What the specs of installed packs declare for a plain class; nothing for torch's own."""
    # No pack says what torch's own classes need: everybody uses them.
    return frozenset() if cls.__module__.partition(".")[0] == "torch" else registry().needs_of(cls)


def has_modes(optimizer: Optimizer) -> bool:
    """Return True if it has ``train()`` and ``eval()``, which exchange what the parameters hold."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))
