"""What a wrapper shares with its base."""

from __future__ import annotations

from typing import Any

import torch

from optim_core.testing.check import check, require
from optim_core.testing.checks.construction import is_optimizer
from optim_core.testing.subject import Subject


def is_wrapper(subject: Any) -> bool:
    """A wrapper that is an optimizer around another one."""
    return is_optimizer(subject) and subject.kind == "wrapper"


@check(is_wrapper)
def check_shares_groups_and_state_with_its_base(subject: Subject) -> None:
    """Groups and state are the base's own, before and after loading; a schedule of the wrapper is the base's.

    Remedy: derive from Wrapper; hand ``param_groups``, ``state`` and ``defaults`` on, do not copy them.
    """
    params = subject.params()
    optimizer = subject.build(params)
    base: Any = getattr(optimizer, "base", None)
    require(isinstance(base, torch.optim.Optimizer), "it does not show its base as .base")
    lr = base.param_groups[0]["lr"]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    subject.train(optimizer, params, 2)
    scheduler.step()
    require(base.param_groups[0]["lr"] == lr / 2, "a scheduler of the wrapper does not change the base's lr")
    for when in ("", " after load_state_dict"):
        require(optimizer.param_groups is base.param_groups, f"its groups are not its base's{when}")
        require(optimizer.state is base.state, f"its state is not its base's{when}")
        optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    require(all(p.grad is None for p in params), "zero_grad() leaves gradients")
