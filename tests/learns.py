"""Every registered optimizer learns to read digits, at some learning rate of the range that it declares.

Minutes, so that pytest does not find it by itself: `nox -s learns`, or `pytest -s tests/learns.py -k lion`.
"""

from __future__ import annotations

from typing import Any

import pytest

import optim_core
from optim_core.catalog.specs import OptimizerSpec
from optim_core.compare import plan
from optim_core.compare.task_loading import load_task
from optim_core.compare.train import train

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

#: The share of held-out digits told right in the end: a lucky epoch on the way does not count.
AIM = 0.90
EPOCHS = 10
#: Learning rates of a declared range, those in its middle first; the first that reaches the aim is enough.
LRS = 5


def optimizers() -> list[Any]:
    """Every optimizer, those that say why they fall short as expected failures: a reason that is outdated fails."""
    found = []
    for spec in optim_core.find(kind="optimizer"):
        assert isinstance(spec, OptimizerSpec)
        marks = [pytest.mark.xfail(reason=spec.shortfall, raises=AssertionError)] if spec.shortfall else []
        found.append(pytest.param(spec.name, id=spec.name, marks=marks))
    return found


@pytest.mark.parametrize("name", optimizers())
def test_learns(name: str) -> None:
    task = load_task("digits")
    (contender,), _ = plan.read_contenders([name])
    runs = plan.plan_runs(task, [contender], n_lrs=LRS, seeds=1)
    middle = len(runs) // 2
    reached = {}
    for planned in sorted(runs, key=lambda planned: abs(runs.index(planned) - middle)):
        run = train(task, planned, epochs=EPOCHS)
        if run.status == "failed":
            pytest.fail(f"{name} at lr={planned.lr:g}: {run.message}")
        reached[planned.lr] = run.score if run.score is not None else 0.0
        if reached[planned.lr] >= AIM:
            break
    told = ", ".join(f"{score:.1%} at lr={lr:g}" for lr, score in reached.items())
    print(f"{name}: {told}")  # noqa: T201 - the accuracies are what one runs this for
    assert max(reached.values()) >= AIM, f"{name} stays below {AIM:.0%} after {EPOCHS} epochs: {told}"
