"""Every method follows the trajectories in `golden/`, which were measured by running the authors' own code.

Nothing here knows a method: how it is built and driven follows from its spec and from the case.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import needs_triton
from problems import problem_of
from torch import Tensor
from torch.optim import lr_scheduler

import optim_core
from optim_core import closures
from optim_core.errors import ClosureError

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

GOLDEN = Path(__file__).parent / "golden"

#: How a case is run: by which way of taking a step, and with which settings of the optimizer.
WAYS = [
    pytest.param("minimize", {"foreach": True}, id="list"),
    pytest.param("minimize", {"foreach": False}, id="tensor by tensor"),
    pytest.param("minimize", {"engine": "native"}, id="native"),
    pytest.param("minimize", {"engine": "triton"}, id="triton", marks=needs_triton),
    pytest.param("minimize", {}, id="minimize"),
    pytest.param("step", {}, id="step"),
    pytest.param("closure", {}, id="closure"),
]


def tuples(x: Any) -> Any:
    """JSON has no tuples; lists stand for them."""
    if isinstance(x, list):
        return tuple(map(tuples, x))
    return {k: tuples(v) for k, v in x.items()} if isinstance(x, dict) else x


def cases(holding: str) -> list[Any]:
    """Name and case of every case that holds "params" (trajectories) or "lrs" (schedules)."""
    found = []
    for path in sorted(GOLDEN.glob("*.json")):
        golden = json.loads(path.read_text(encoding="utf-8"))
        name = golden["optimizer"]
        for case in golden["cases"]:
            if holding in case:
                settled = {**case, "kwargs": tuples(case["kwargs"])}
                found.append(pytest.param(name, settled, id=f"{name}-{case['case']}"))
    return found


# building ------------------------------------------------------------------------------------------------------
def build(name: str, params: Sequence[Tensor], kwargs: Mapping[str, Any]) -> Any:
    """The optimizer or wrapper of a case, from its spec."""
    spec = optim_core.info(name)
    if spec.kind == "wrapper":
        own = {k: v for k, v in kwargs.items() if k not in ("base", "base_kwargs")}
        return optim_core.get_wrapper(name)(build(kwargs["base"], params, kwargs["base_kwargs"]), **own)
    cls = optim_core.get(name)
    constructors = [cls, *(getattr(cls, other) for other in spec.constructors)]
    fitting = [make for make in constructors if set(kwargs) <= set(inspect.signature(make).parameters)]
    return fitting[0](params, **kwargs) if fitting else cls(params, **kwargs)


def innermost(optimizer: Any) -> Any:
    return innermost(optimizer.base) if hasattr(optimizer, "base") else optimizer


# driving -------------------------------------------------------------------------------------------------------
Closure = Callable[[], Any]


def total(loss: Any) -> Tensor:
    """The recorded loss of several tasks is their sum."""
    return torch.stack(list(loss)).sum() if isinstance(loss, (list, tuple)) else loss


def minimized(optimizer: Any, closure: Closure) -> Tensor:
    return total(optimizer.minimize(closure))


def stepped(optimizer: Any, closure: Closure) -> Tensor:
    """torch's own way: zero_grad, backward, step."""
    optimizer.zero_grad()
    loss = total(closure())
    closures.backward(loss, create_graph=optimizer.needs_graph)
    optimizer.step()
    return loss.detach()


def stepped_with_closure(optimizer: Any, closure: Closure) -> Tensor:
    """torch's other way: step(closure)."""

    def evaluated() -> Tensor:
        optimizer.zero_grad()
        loss = total(closure())
        closures.backward(loss, create_graph=optimizer.needs_graph)
        return loss

    return optimizer.step(evaluated).detach()


DRIVES = {"minimize": minimized, "step": stepped, "closure": stepped_with_closure}
#: Needs that torch's own ways cannot meet; they raise where they can notice.
BEYOND = {"minimize": set(), "step": {"closure"}, "closure": {"multi_loss"}}
UNNOTICED = {"minimize": set(), "step": {"multi_loss"}, "closure": set()}


def deviation(got: Tensor, wanted: Sequence[float]) -> float:
    """Largest difference, as a share of the tensor's largest magnitude."""
    expected = torch.tensor(wanted, dtype=torch.float64)
    difference = (got.detach().double().reshape(-1) - expected).abs().max()
    return float(difference / expected.abs().max().clamp(min=1e-30))


def follow(name: str, case: Mapping[str, Any], drive: str, settings: Mapping[str, Any], dtype: torch.dtype) -> float:
    """Run a case; the largest deviation of any loss or parameter."""
    problem = problem_of(case)
    params = problem.parameters(dtype)
    optimizer = build(name, params, case["kwargs"])
    for setting, value in settings.items():
        setattr(innermost(optimizer), setting, value)
    worst = 0.0
    for n, loss in enumerate(case["losses"], start=1):
        got = DRIVES[drive](optimizer, problem.closure(params, n - 1))
        worst = max(worst, deviation(got, [loss]))
        for p, wanted in zip(params, case["params"].get(str(n), ()), strict=False):
            worst = max(worst, deviation(p, wanted))
    return worst


@pytest.mark.parametrize(("drive", "settings"), WAYS)
@pytest.mark.parametrize(("name", "case"), cases("params"))
def test_trajectory(name: str, case: Mapping[str, Any], drive: str, settings: Mapping[str, Any]) -> None:
    needs = set(optim_core.info(name).needs)
    if needs & UNNOTICED[drive]:
        pytest.skip("loss.backward() takes one loss, and step() cannot know of the others")
    if needs & BEYOND[drive]:
        with pytest.raises(ClosureError, match=r"optimizer\.minimize\(closure\)"):
            follow(name, case, drive, settings, torch.float64)
        return
    assert follow(name, case, drive, settings, torch.float64) < 1e-10


@pytest.mark.parametrize("engine", ["eager", "native", pytest.param("triton", marks=needs_triton)])
@pytest.mark.parametrize(("name", "case"), cases("params"))
def test_trajectory_in_float32(name: str, case: Mapping[str, Any], engine: str) -> None:
    first = problem_of(case).parameters()
    second = case["params"]["2"]
    moved = max(deviation(p, wanted) for p, wanted in zip(first, second, strict=True))
    # Steps that float32 resolves in coarse grains only (Prodigy's first ones) cannot be followed more finely than that.
    grain = torch.finfo(torch.float32).eps / moved
    assert follow(name, case, "minimize", {"engine": engine}, torch.float32) < max(3e-4, grain)


# schedules -----------------------------------------------------------------------------------------------------
def each(value: Any, groups: int) -> list[Any]:
    """A value for each group."""
    return list(value) if isinstance(value, tuple) else [value] * groups


@pytest.mark.parametrize(("name", "case"), cases("lrs"))
def test_schedule(name: str, case: Mapping[str, Any]) -> None:
    spec = optim_core.info(name)
    options = dict(case["kwargs"])
    base_lrs = options.pop("base_lrs", (0.1,))
    beta2 = options.pop("beta2", 0.999) if "betas" in spec.needs else 0.999
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr, "betas": (0.9, b)}
        for lr, b in zip(base_lrs, each(beta2, len(base_lrs)), strict=True)
    ]
    optimizer = torch.optim.Adam(groups)
    if "lr_scheduler" in options:
        inner = dict(options["lr_scheduler"])
        options["lr_scheduler"] = getattr(lr_scheduler, inner.pop("name"))(optimizer, **inner)
    scheduler = optim_core.get_scheduler(name)(optimizer, **options)
    largest = max(max(each(lrs, 1)) for lrs in tuples(case["lrs"]))
    for n, lrs in enumerate(tuples(case["lrs"]), start=1):
        got = [group["lr"] for group in optimizer.param_groups]
        assert got == pytest.approx(each(lrs, len(got)), rel=1e-10, abs=1e-10 * largest), f"step {n}"
        optimizer.step()
        scheduler.step()
