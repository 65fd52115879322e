"""Whether it minimises anything."""

from __future__ import annotations

from typing import Any

import torch

from optim_core.errors import InvalidOption
from optim_core.stepping import minimize
from optim_core.testing.check import NotApplicable, check, require
from optim_core.testing.checks.construction import goes_by_gradients
from optim_core.testing.checks.rates import takes_lr
from optim_core.testing.subject import Subject

#: Steps after which also a method that finds its own step size has found it: the first guess may be far too long.
_LONG = 100


@check(goes_by_gradients)
def check_learns_a_linear_model(subject: Subject) -> None:
    """With its defaults, a hundred steps make a convex loss smaller, unless the spec names a shortfall.

    Remedy: look at the sign of the update, at the order of what is updated first, and at the default lr.
    """
    model, x = torch.nn.Linear(4, 2), torch.randn(16, 4)
    try:
        optimizer = subject.build([*model.parameters()])
    except (ValueError, TypeError):
        optimizer = subject.build([model.weight])

    def loss() -> Any:
        value = (model(x) - x[:, :2]).square().mean()
        return [value, 2 * value] if "multi_loss" in subject.needs else value

    def now() -> float:
        with torch.no_grad():
            return float((model(x) - x[:, :2]).square().mean())

    before = now()
    for _ in range(_LONG):
        minimize(optimizer, loss)
    require(bool(subject.shortfall) or now() < before, f"{_LONG} steps bring the loss from {before:.4g} to {now():.4g}")


def learns(subject: Any) -> bool:
    """An optimizer whose spec names no shortfall."""
    single = takes_lr(subject) and subject.kind == "optimizer" and "multi_loss" not in subject.needs
    return single and not subject.shortfall


@check(learns)
def check_descends_a_curved_valley(subject: Subject) -> None:
    """At some lr of its range, Rosenbrock's valley is descended from its slope at (-1.2, 1).

    Remedy: widen or move ``search`` of the lr, or mend the update: the first step is along the negative gradient.
    """
    h = subject.hypers.get("lr")
    low, high = h.search if h is not None and h.search else (subject.usual_lr / 10, subject.usual_lr * 10)
    lowest = start = 0.0
    for k in (2, 3, 1, 4, 0):
        torch.manual_seed(0)
        w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=subject.dtype).repeat(4, 1))
        try:
            optimizer = subject.build([w], lr=low * (high / low) ** (k / 4))
        except InvalidOption:
            continue

        def valley(w: torch.Tensor = w) -> torch.Tensor:
            x, y = w[:, 0], w[:, 1]
            return 1e-3 * ((1 - x).square() + 100 * (y - x.square()).square()).sum()  # curvatures near 1

        if float(w[0, 1].detach()) != 1.0:
            raise NotApplicable("its constructor moves parameters: it minimises on a set of its own")
        start = float(valley())
        for _ in range(_LONG):
            minimize(optimizer, valley)
        lowest = min(start if lowest == 0.0 else lowest, float(valley()))
        if lowest < start / 2:
            return
    require(False, f"at five lr from {low:g} to {high:g}, {_LONG} steps bring {start:.4g} down to {lowest:.4g} at best")
