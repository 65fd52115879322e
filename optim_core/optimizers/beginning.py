"""A step that begins and moves nothing: how checkpointing tools have an optimizer create its states.

``torch.distributed.checkpoint``, and with it FSDP2 and its users, gives a fresh optimizer zero gradients and lr 0,
calls ``step()`` and takes the names of all states from what it finds then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from optim_core.engines.sharded import full_tensor
from optim_core.optimizers.gradients import parameters


def only_begins(optimizer: Optimizer) -> bool:
    """Return True if a step without a closure would be such a one.

    No parameter has a state, every lr is 0, and of the gradients that there are, one or more, each is 0.
    """
    if any(optimizer.state.values()) or any(float(group.get("lr") or 0) for group in optimizer.param_groups):
        return False
    gradients = [p.grad for p in parameters(optimizer) if p.grad is not None]
    if not gradients or any(g.layout is not torch.strided for g in gradients):
        return False
    return not any(bool(full_tensor(g.any())) for g in gradients)


def or_begins(step: Callable[..., Any]) -> Callable[..., Any]:
    """A ``step`` that calls the optimizer's ``begin()`` where it only begins, whatever else it wants of a step."""

    @functools.wraps(step)
    def run(self: Any, closure: Any = None) -> Any:
        if closure is not None or not only_begins(self):
            return step(self, closure)
        with torch.no_grad():
            self.begin()
        return None

    return run
