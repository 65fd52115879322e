"""Parameters that are given another type or other memory between steps: followed, or refused with a reason."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from support import small
from support.kinds import Kind, all_kinds, some_of_each
from support.wrappers import around
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption, OptimCoreError, UnsupportedParameter

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

CHANGES = {
    "float64": (torch.float32, torch.float64),
    "float32": (torch.float64, torch.float32),
    "bfloat16": (torch.float32, torch.bfloat16),
    "float16": (torch.float32, torch.float16),
    "from bfloat16": (torch.bfloat16, torch.float32),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        number = 1 if metafunc.function is test_every_engine else 2
        # all take part where it costs little
        kinds = all_kinds() if metafunc.function is test_other_memory else some_of_each(number)
        metafunc.parametrize("kind", kinds, ids=lambda kind: kind.spec.name)


def train(kind: Kind, optimizer: Any, steps: range) -> None:
    params = optimizer.param_groups[0]["params"]
    for t in steps:

        def closure(t: int = t) -> Any:
            loss = small.loss(params, t)
            return [loss, small.loss(params, t + 1)] if kind.needs("multi_loss") else loss

        optim_core.minimize(optimizer, closure)


def made(kind: Kind, params: Any, **options: Any) -> Any:
    optimizer = kind.make(small.named(params), **options)
    for group in optimizer.param_groups:
        if group.get("lr") is not None:
            group["lr"] = 0.01
    return optimizer


def retype(params: list[Parameter], dtype: torch.dtype) -> None:
    """As ``model.to(dtype)`` does."""
    for p in params:
        p.data = p.data.to(dtype)
        p.grad = None


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("steps", [0, 2])
def test_another_type(kind: Kind, change: str, steps: int) -> None:
    """As an optimizer that is built anew over parameters of that type, and gets the state of the old one."""
    before, after = CHANGES[change]
    ends = []
    for builds in (True, False):
        torch.manual_seed(0)
        params = small.parameters(dtype=before)
        optimizer = made(kind, params)
        train(kind, optimizer, range(steps))
        retype(params, after)
        if builds and steps:
            saved = copy.deepcopy(optimizer.state_dict())
            optimizer = made(kind, params)
            optimizer.load_state_dict(saved)
        train(kind, optimizer, range(steps, steps + 3))
        ends.append(small.copies(params))
    assert ends[0][0].dtype is after
    assert small.finite(ends[1])
    tolerance = 0.1 if after in (torch.float16, torch.bfloat16) else 1e-5
    small.assert_same([x.double() for x in ends[1]], [x.double() for x in ends[0]], tolerance)


@pytest.mark.parametrize("options", small.CPU_ENGINES, ids=str)
def test_every_engine(kind: Kind, options: dict[str, Any]) -> None:
    """There and back again, between steps, from address to address: in every engine the same."""
    ends: list[list[Tensor]] = []
    for how in (options, {"engine": "eager"}):
        torch.manual_seed(0)
        params = small.parameters((64, 65), (64,), dtype=torch.float32)
        optimizer = made(kind, params, **how)
        for t, dtype in enumerate([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float32]):
            retype(params, dtype)
            train(kind, optimizer, range(2 * t, 2 * t + 2))
        ends.append([p.detach().double() for p in params])
    small.assert_same(*ends, tolerance=2e-3)


@pytest.mark.parametrize("options", small.CPU_ENGINES, ids=str)
def test_other_memory(options: dict[str, Any], kind: Kind) -> None:
    """Of the same shape: nothing changes, whichever part of a larger tensor it is."""
    if options != {"engine": "eager"} and kind not in some_of_each(1):
        pytest.skip("one method of a kind does for the other engines")
    ends = []
    for moves in (False, True):
        torch.manual_seed(0)
        params = small.parameters()
        optimizer = made(kind, params, **options)
        for t in range(4):
            if moves:
                flat = torch.cat([p.detach().reshape(-1) for p in params])
                for p, x in zip(params, flat.split([p.numel() for p in params]), strict=True):
                    p.data = x.view(p.shape)
            train(kind, optimizer, range(t, t + 1))
        ends.append(params)
    small.assert_close(*ends)


def test_another_shape(kind: Kind) -> None:
    """Refused once there is something in the old shape; what is refused changes nothing."""
    params = small.parameters()
    optimizer = made(kind, params)
    train(kind, optimizer, range(2))
    for p in params:
        p.data = p.data.reshape(-1, 1)
        p.grad = None
    before = small.copies(params)
    refusal = ""
    try:
        train(kind, optimizer, range(2, 3))
    except OptimCoreError as error:
        refusal = str(error)
    if refusal:
        assert re.search(r"does not fit its parameter of shape .* any more: .* Build the optimizer after that", refusal)
        assert small.equal(params, before)
        for p in params:  # the second remedy
            optimizer.state.pop(p, None)
        train(kind, optimizer, range(3))
        return
    kept = [x for p in params for x in optimizer.state[p].values() if isinstance(x, Tensor)]
    assert all(x.numel() == 1 or x.shape in {p.shape for p in params} for x in kept)


def test_rounding_that_float16_does_not_have() -> None:
    params = small.parameters(dtype=torch.bfloat16)
    optimizer: Any = optim_core.get("adamw")(params, rounding="kahan")
    small.train(optimizer)
    retype(params, torch.float32)
    small.train(optimizer)
    assert "compensation" not in optimizer.state[params[0]]
    retype(params, torch.float16)
    with pytest.raises(InvalidOption, match="not for float16"):
        small.train(optimizer)
    optimizer.param_groups[0]["rounding"] = "nearest"
    small.train(optimizer)


@pytest.mark.parametrize("wraps", [False, True])
def test_flattened_after_the_constructor(wraps: bool) -> None:
    params = small.parameters((12,))
    optimizer: Any = optim_core.get("adamw" if wraps else "lamb")(params)
    optimizer = around(optimizer, "clip") if wraps else optimizer
    params[0]._fsdp_flattened = True  # type: ignore[attr-defined]
    before = small.copies(params)
    with pytest.raises(UnsupportedParameter, match="under FSDP1"):
        small.train(optimizer)
    assert small.equal(params, before)
