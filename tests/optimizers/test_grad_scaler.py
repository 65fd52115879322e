"""GradScaler leaves gradients scaled: the rule divides, in every engine, and a step with inf or nan is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.methods import optimizers, rule_optimizers
from support.small import CPU_ENGINES, assert_close, copies, equal, loss, named, parameters, scaled_step
from support.wrappers import around, base_only_specs
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, GraphMissing
from optim_core.optimizers import backward

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


@pytest.mark.parametrize("way", CPU_ENGINES, ids=str)
@pytest.mark.parametrize("name", rule_optimizers())
def test_scaled_gradients_give_the_same_steps(name: str, way: dict[str, Any]) -> None:
    plain, scaled = parameters(), parameters()
    made: list[Any] = []
    for params in (plain, scaled):
        torch.manual_seed(0)  # the same draws for both
        made.append(optim_core.get(name)(params, **way))
    first, second = made
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)  # the scale changes on the way
    for n in range(5):
        first.minimize(lambda n=n: loss(plain, n))
        scaled_step(second, scaler, loss(scaled, n))
        assert scaled[0].grad is not None
    assert_close(plain, scaled)


@pytest.mark.parametrize("way", CPU_ENGINES, ids=str)
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_step_with_an_overflow_changes_nothing(way: dict[str, Any], bad: float) -> None:
    params = parameters()
    optimizer = optim_core.get("adamw")(params, **way)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaled_step(optimizer, scaler, loss(params, 0))
    before = copies(params)
    state = {p: {name: x.clone() for name, x in optimizer.state[p].items() if isinstance(x, Tensor)} for p in params}
    scaled_step(optimizer, scaler, bad * loss(params, 1))
    assert scaler.get_scale() == 4.0
    assert equal(before, params)
    for p in params:
        assert optimizer.state[p]["step"] == 1
        assert all(torch.equal(x, optimizer.state[p][name]) for name, x in state[p].items())
    scaled_step(optimizer, scaler, loss(params, 2))
    assert optimizer.state[params[0]]["step"] == 2


def test_gradients_are_read_as_they_are() -> None:
    params = parameters()
    optimizer = optim_core.get("lion")(params)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss(params, 0)).backward()
    before = [p.grad.clone() for p in params]
    scaler.step(optimizer)
    assert all(torch.equal(x, p.grad) for x, p in zip(before, params, strict=True))


def test_clipping_sees_unscaled_gradients_in_both_ways() -> None:
    ends = []
    for by_hand in (False, True):
        params = parameters()
        optimizer = optim_core.create_optimizer(
            params, "sgd", lr=0.1, wrappers=[] if by_hand else [("clip", {"max_norm": 0.5})]
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        for n in range(3):
            optimizer.zero_grad()
            scaler.scale(loss(params, n)).backward()
            if by_hand:  # torch's recipe
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(params, 0.5)
            scaler.step(optimizer)
            scaler.update()
        ends.append(params)
    assert_close(*ends)


# wrappers ------------------------------------------------------------------------------------------------------
CHAINS = [[spec.name] for spec in base_only_specs()]
CHAINS += [[*names, outer] for names in CHAINS for outer in ("lookahead", "ema") if names != [outer]]
CHAINS += [["clip", "pcgrad", "sam", "lookahead", "ema"], ["ema", "wsam", "clip"], ["accumulate", "sam", "ema"]]


def chained(base: str, names: list[str]) -> tuple[list[Parameter], Any]:
    params = parameters()
    optimizer = optim_core.get(base)(named(params), lr=0.05)
    for name in names:
        options = {"k": 2} if name == "lookahead" else {"decay": 0.5} if name == "ema" else {}
        optimizer = around(optimizer, name, **options)
    return params, optimizer


def layers(optimizer: Any) -> Iterator[Any]:
    while hasattr(optimizer, "base"):
        yield optimizer
        optimizer = optimizer.base


def values(optimizer: Any, params: list[Parameter], n: int) -> Any:
    """The loss, or the losses if some wrapper takes several."""
    merged = any(hasattr(layer, "merge") for layer in layers(optimizer))
    return [loss(params[:1], n) + loss(params, n + 1), loss(params, n)] if merged else loss(params, n)


def scaled_by_hand(optimizer: Any, params: list[Parameter], n: int, scaler: Any, *, overflow: bool = False) -> None:
    """A step by GradScaler, as the wrappers' documentation tells."""
    factor = float("inf") if overflow else 1.0
    twice = [layer for layer in layers(optimizer) if hasattr(layer, "first_step")]
    merging = [layer for layer in layers(optimizer) if hasattr(layer, "merge")]

    def backward() -> None:
        found = values(optimizer, params, n)
        if merging:
            merging[0].backward([factor * x for x in found], scaler)
        else:
            scaler.scale(factor * found).backward()

    optimizer.zero_grad()
    for layer in layers(optimizer):
        if hasattr(layer, "move_ahead"):
            layer.move_ahead()
    backward()
    for layer in twice:
        scaler.unscale_(optimizer)
        layer.first_step()
        scaler.update()
        backward()
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("base", ["adamw", "torch:adamw"])
@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_wrappers_leave_out_what_overflows_and_do_all_else_as_without_a_scaler(names: list[str], base: str) -> None:
    plain, first = chained(base, names)
    scaled, second = chained(base, names)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)
    if any(getattr(layer, "releases", False) for layer in layers(second)):
        with pytest.raises(ClosureError, match="GradScaler scales gradients that have been stepped with"):
            scaled_by_hand(second, scaled, 0, scaler, overflow=False)
        return
    if any(layer.estimates for layer in layers(second)):
        with pytest.raises(ClosureError, match="evaluates the loss more than once a step"):
            scaled_by_hand(second, scaled, 0, scaler, overflow=False)
        return
    rates = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9) for optimizer in (first, second)]
    for n in range(6):
        first.minimize(lambda n=n: values(first, plain, n))
        if first.stepped:
            rates[0].step()
        for overflow in (True, False) if n in (0, 3) else (False,):
            before = copies(scaled)
            scaled_by_hand(second, scaled, n, scaler, overflow=overflow)
            assert second.stepped is (first.stepped and not overflow)
            if second.stepped:
                rates[1].step()
            if overflow:
                assert equal(before, scaled)
        assert_close(plain, scaled)
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"]
    if hasattr(first, "averaged"):
        with first.averaged(), second.averaged():
            assert_close(plain, scaled)


def test_wrappers_hear_of_a_scaler_once() -> None:
    params, optimizer = chained("adamw", ["gc", "lookahead"])
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    scaler.scale(loss(params, 0)).backward()
    by_hand = [p.grad / 64.0 for p in params]
    scaler.step(optimizer)
    assert_close([p.grad for p in params], by_hand)
    scaler.update()
    scaler.scale(loss(params, 1)).backward()
    with pytest.raises(ClosureError, match=r"Lookahead: GradScaler takes no closures: call backward\(\)"):
        scaler.step(optimizer, lambda: None)


# curvature -----------------------------------------------------------------------------------------------------
CURVATURE = [spec.name for spec in optimizers() if "create_graph" in spec.needs]


def interacting(params: list[Parameter]) -> Tensor:
    """A loss whose Hessian's diagonal is not all that there is of it."""
    return sum(((p.square() * p.flip(0) + p**4).sum() for p in params), torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("wrappers", [[], [("clip", {"max_norm": 0.5})], ["ema"]], ids=str)
@pytest.mark.parametrize("name", CURVATURE)
def test_the_scale_of_the_loss_cancels_in_curvature(name: str, wrappers: list[Any]) -> None:
    ends = []
    for scale in (None, 3.0, 2.0**16):
        torch.manual_seed(0)
        params = parameters()
        optimizer: Any = optim_core.create_optimizer(params, name, lr=0.05, wrappers=wrappers)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None, growth_interval=2)
        for _ in range(4):
            optimizer.zero_grad()
            backward(scaler.scale(interacting(params)), create_graph=optimizer.needs_graph)
            scaler.step(optimizer)
            scaler.update()
        ends.append(params)
    assert_close(ends[1], ends[0])
    assert_close(ends[2], ends[0])


@pytest.mark.parametrize("wrappers", [[], ["ema"]], ids="+".join)
@pytest.mark.parametrize("name", CURVATURE)
def test_a_graph_of_unknown_scale_is_refused(name: str, wrappers: list[str]) -> None:
    params = parameters()
    optimizer: Any = optim_core.create_optimizer(params, name, lr=0.05, wrappers=wrappers)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    backward(scaler.scale(interacting(params)), create_graph=True)
    scaler.unscale_(optimizer)
    before = copies(params)
    with pytest.raises(GraphMissing, match=r"leave it out.*get_wrapper\('clip'\)"):
        scaler.step(optimizer)
    assert equal(before, params)
