"""Softplus and stable weight decay around torch's own optimizers: the same as around ours of that name."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from support.offerings import loss, parameters, rule_classes, run
from support.small import assert_same
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import NotOffered, OptimCoreError
from optim_core.names import normalise
from optim_core.wrapping.plain_rules import plain_rule_of

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
softplus_wrapper, stablewd = (optim_core.get_wrapper(name) for name in ("softplus", "stablewd"))


def candidates() -> Iterator[Any]:
    """Optimizers of torch whose rule is known, ours of that name, and options that both have."""
    for torch_s in vars(torch.optim).values():
        if not isinstance(torch_s, type) or not plain_rule_of(torch_s):
            continue
        names = inspect.signature(torch_s).parameters
        for name, ours in rule_classes().items():
            if normalise(name) != normalise(torch_s.__name__):
                continue
            shared = {name: h for name, h in ours.hypers.items() if name in names}
            flips = [{name: not h.default} for name, h in shared.items() if isinstance(h.default, bool)]
            numbers = [{name: 0.5} for name, h in shared.items() if h.default == 0.0 and type(h.default) is float]
            usual = {"lr": 0.02, **({"weight_decay": 0.0} if "weight_decay" in shared else {})}
            for more in [{}, *flips, *numbers, *(a | b for a, b in itertools.product(flips, numbers))]:
                if not more.get("weight_decay"):
                    label = "-".join([torch_s.__name__.lower(), *(f"{k}={v}" for k, v in more.items())])
                    yield pytest.param(torch_s, ours, usual | more, id=label)


def twin(torch_s: Any, ours: Any, options: Mapping[str, Any]) -> tuple[Mapping[str, Any], float] | None:
    """Options of ours alone with which it does the same as torch's, and how far apart they end; None without any."""
    return _twin(torch_s, ours, tuple(options.items()))


@functools.cache
def _twin(torch_s: Any, ours: Any, options: tuple[tuple[str, Any], ...]) -> tuple[Mapping[str, Any], float] | None:
    found = ((own, difference(torch_s, ours, dict(options), own)) for own in own_flips(ours, torch_s))
    return next((pair for pair in found if pair[1] < 1e-6), None)


def own_flips(ours: Any, torch_s: Any) -> Iterator[dict[str, Any]]:
    """Each switch that torch's class does not have, turned, and none."""
    theirs = inspect.signature(torch_s).parameters
    yield {}
    yield from ({n: not h.default} for n, h in ours.hypers.items() if n not in theirs and isinstance(h.default, bool))


def difference(torch_s: Any, ours: Any, options: Mapping[str, Any], own: Mapping[str, Any]) -> float:
    """How far apart they end; inf if there are no such options."""
    params = parameters(), parameters()
    try:
        bases = torch_s(params[0], **options), ours(params[1], **options, **own)
    except (ValueError, OptimCoreError):
        return math.inf
    for base, mine in zip(bases, params, strict=True):
        for t in range(12):
            optim_core.minimize(base, lambda mine=mine, t=t: loss(mine, t))
    return max(float((p - q).detach().abs().max()) for p, q in zip(*params, strict=True))


WRAPPERS = [
    pytest.param(softplus_wrapper, {"denominator": "raw"}, id="raw"),
    pytest.param(softplus_wrapper, {"denominator": "debiased", "beta_softplus": 5.0}, id="debiased"),
    pytest.param(stablewd, {"weight_decay": 0.1}, id="stablewd"),
]


def test_torch_s_optimizers_have_twins() -> None:
    readable = {cls.__name__ for cls in vars(torch.optim).values() if isinstance(cls, type) and plain_rule_of(cls)}
    found = [case.values[0].__name__ for case in candidates() if twin(*case.values)]
    assert set(found) == readable
    assert len(found) >= 2 * len(readable)


@pytest.mark.parametrize(("wrapper", "more"), WRAPPERS)
@pytest.mark.parametrize(("torch_s", "ours", "options"), list(candidates()))
def test_around_torch_s_as_composed(
    torch_s: Any, ours: Any, options: dict[str, Any], wrapper: Any, more: dict[str, Any]
) -> None:
    alike = twin(torch_s, ours, options)
    if alike is None:
        pytest.skip("none of ours does the same with these options")
    ends, refused = [], []
    for base in (lambda params: torch_s(params, **options), lambda params: ours(params, **options, **alike[0])):
        params = parameters()
        half = [{"params": params[:1]}, {"params": params[1:], "lr": 0.01}]
        try:
            ends.append(run(wrapper(base(half), **more), params))
        except NotOffered as conflict:
            refused.append(str(conflict))
    if len(refused) == 1:  # torch keeps what it has divided
        assert options.get("momentum")
        assert refused[0].startswith("SoftplusDenominator")
    elif not refused:
        assert_same(ends[1], ends[0], max(1e-11, 10 * alike[1]))


def scaled(optimizer: Any, params: Sequence[Parameter], steps: int = 5) -> list[Tensor]:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)
    for t in range(steps):
        for bad in (True, False) if t == 2 else (False,):  # an overflow on the way changes nothing
            optimizer.zero_grad()
            scaler.scale(loss(params, t) * (math.inf if bad else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
    return [p.detach() for p in params]


@pytest.mark.parametrize(("wrapper", "more"), WRAPPERS)
@pytest.mark.parametrize("base", [torch.optim.Adam, optim_core.get("adam")], ids=["torch", "composed"])
def test_under_a_grad_scaler(base: Any, wrapper: Any, more: dict[str, Any]) -> None:
    first, second = parameters(), parameters()
    plain = wrapper(base(first, lr=0.02), **more)
    for t in range(5):
        plain.minimize(lambda t=t: loss(first, t))
    assert_same(scaled(wrapper(base(second, lr=0.02), **more), second), [p.detach() for p in first], 1e-11)


@pytest.mark.parametrize("base", [torch.optim.Adam, optim_core.get("adam")], ids=["torch", "composed"])
def test_the_mean_is_over_all_groups_and_late_gradients_join(base: Any) -> None:
    params = [Parameter(torch.full((2,), 2.0).double()), Parameter(torch.full((4,), 2.0).double())]
    groups = [{"params": params[:1], "lr": 0.0}, {"params": params[1:], "lr": 0.1}]
    optimizer = stablewd(base(groups, betas=(0.0, 0.5), eps=0.0), weight_decay=0.3)
    optimizer.minimize(lambda: 4 * params[1].sum())
    p = 2 * (1 - 0.1 * 0.3 / 4) - 0.1  # r = 4; Adam's first step is lr
    assert params[1].tolist() == pytest.approx([p] * 4)
    optimizer.minimize(lambda: params[0].sum() + 4 * params[1].sum())
    r = math.sqrt((2 * 1 + 4 * 16) / 6)
    assert params[1].tolist() == pytest.approx([p * (1 - 0.1 * 0.3 / r) - 0.1] * 4)
    assert params[0].tolist() == [2.0, 2.0]
