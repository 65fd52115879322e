"""All checks; each module holds those of one idea."""

from optim_core.testing.checks import (
    catalog,
    construction,
    gradients,
    learning,
    needs,
    rates,
    rules,
    schedules,
    shapes,
    state,
    wrappers,
)

__all__ = [
    "catalog",
    "construction",
    "gradients",
    "learning",
    "needs",
    "rates",
    "rules",
    "schedules",
    "shapes",
    "state",
    "wrappers",
]
