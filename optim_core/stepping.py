"""Taking a step with any optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.optimizer import Optimizer

from optim_core.optimizers import closures, hosts
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.needs import needs_of
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.wrapping.wrapper import Wrapper


def minimize(optimizer: Optimizer, closure: Callable[[], Any]) -> Any:
    """Take a step with any torch optimizer, or with what Lightning or accelerate hand out in its place.

    Does what the optimizer needs: zero the gradients, call the closure (again where the method evaluates more than
    once), backward (with a graph where the method differentiates the gradients), update.

    Args:
        optimizer: this library's, torch's or any other.
        closure: computes the loss and returns it, a 0-d tensor (a list of losses for multi-task wrappers), and does
            nothing else. It may also yield parts that sum to the loss, so that only one part's graph is in memory:
            gradient accumulation, for any method.

    Returns:
        The loss before the step, detached.

    Raises:
        ClosureError: the closure returns something else, or has called backward itself.

    Example:
        >>> import torch
        >>> from optim_core import minimize
        >>> w = torch.nn.Parameter(torch.tensor([3.0]))
        >>> optimizer = torch.optim.LBFGS([w])
        >>> float(minimize(optimizer, lambda: (w - 1).square().sum()))
        4.0
        >>> round(w.item(), 3)
        1.0
        >>> def parts():
        ...     for x in (0.0, 1.0):
        ...         yield (w - x).square().sum() / 2
        >>> float(minimize(optimizer, parts))
        0.5
    """
    if hosts.behind(optimizer) is not None:
        return hosts.minimize(optimizer, closure)
    if isinstance(optimizer, (RuleOptimizer, Wrapper)):
        return optimizer.minimize(closure)

    needs = needs_of(optimizer)
    if "multi_loss" in needs:  # it makes gradients of the losses itself
        return optimizer.step(lambda: closures.call_closure(optimizer, closure))

    needs_graph = "create_graph" in needs

    def loss_and_gradients() -> Any:
        return closures.evaluate(optimizer, closure, create_graph=needs_graph)

    try:
        if "gradients" not in needs:
            return optimizer.step(loss_and_gradients)
        loss = loss_and_gradients()
        optimizer.step(loss_and_gradients)
        return loss
    finally:
        if needs_graph:
            closures.drop_graph(parameters(optimizer))
