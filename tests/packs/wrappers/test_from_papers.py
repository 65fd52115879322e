"""Wrappers of which no trajectories are recorded, held against slow programs of their papers' formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.small import assert_close, copies, equal, parameters
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import NotFinite, WrapperConflict


def clipped(norms: list[float], *, alpha: float, z_thresh: float, warmup: int) -> list[float]:
    """Kumar et al., Algorithm 1: what each norm becomes."""
    found: list[float] = []
    mean = var = 0.0
    for n in norms:
        if len(found) < warmup:
            found.append(n)
            mean = sum(found) / len(found)
            var = sum((x - mean) ** 2 for x in found) / len(found)
            continue
        z = (n - mean) / math.sqrt(var)
        x = mean + z_thresh**2 / z * math.sqrt(var) if z > z_thresh else n
        mean = alpha * mean + (1 - alpha) * x
        var = alpha * var + (1 - alpha) * (x - mean) ** 2
        found.append(x)
    return found


@pytest.mark.parametrize("base", ["sgd", "torch:sgd"])
def test_zclip_does_what_the_paper_says(base: str) -> None:
    norms = [1.0, 1.5, 0.8, 1.2, 30.0, 1.1, float("inf"), 0.9, 4.0, 1.0, 2.5]
    usual = [n for n in norms if math.isfinite(n)]
    wanted = clipped(usual, alpha=0.9, z_thresh=2.0, warmup=3)
    params = [Parameter(torch.zeros(3, dtype=torch.float64)), Parameter(torch.zeros((), dtype=torch.float64))]
    inner = optim_core.get(base)(params, lr=1.0)
    optimizer = optim_core.get_wrapper("zclip")(inner, alpha=0.9, z_thresh=2.0, warmup_steps=3)
    for n in norms:
        before = copies(params)
        for p in params:
            p.grad = torch.full_like(p, n / 2)  # four elements
        optimizer.step()
        if math.isfinite(n):
            moved = torch.cat([(b - p.detach()).reshape(-1) for b, p in zip(before, params, strict=True)])
            assert_close([moved], [torch.full_like(moved, wanted.pop(0) / 2)])
        else:
            with torch.no_grad():
                for b, p in zip(before, params, strict=True):
                    p.copy_(b)


def poisoned(params: list[Parameter], factor: float) -> Tensor:
    return factor * torch.stack([p.square().sum() for p in params]).sum()


@pytest.mark.parametrize("way", ["minimize", "closure", "step"])
@pytest.mark.parametrize("outer", [None, "accumulate", "ema", "lookahead"])
def test_a_step_that_is_not_finite_leaves_nothing_behind(way: str, outer: str | None) -> None:
    def run(factors: list[float]) -> tuple[Any, list[Tensor]]:
        params = parameters()
        skipping: Any = optim_core.get_wrapper("skip_nonfinite")(optim_core.get("adam")(params, lr=0.1))
        optimizer: Any = skipping if outer is None else optim_core.get_wrapper(outer)(skipping)
        for factor in factors:

            def closure(factor: float = factor) -> Tensor:
                optimizer.zero_grad()
                value = poisoned(params, factor)
                value.backward()  # type: ignore[no-untyped-call]
                return value

            if way == "minimize":
                optimizer.minimize(lambda factor=factor: poisoned(params, factor))
            elif way == "closure":
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
            assert optimizer.stepped or outer == "accumulate" or not math.isfinite(factor)
        return skipping, copies(params)

    finite = [1.0, 2.0, 1.5, 0.5, 1.0, 2.0, 1.0, 1.5]
    clean, expected = run(finite)
    skipping, got = run([*finite[:3], math.nan, math.inf, *finite[3:6], math.nan, *finite[6:]])
    assert equal(got, expected)
    assert (clean.left_out, skipping.left_out, skipping.in_a_row) == (0, 3, 0)


def test_it_raises_when_its_patience_is_at_an_end() -> None:
    params = parameters()
    optimizer: Any = optim_core.get_wrapper("skip_nonfinite")(torch.optim.SGD(params, lr=0.1), patience=2)
    before = copies(params)
    for _ in range(2):
        optimizer.minimize(lambda: poisoned(params, math.nan))
    with pytest.raises(NotFinite, match=r"left out 3 steps in a row, .* go back to a checkpoint"):
        optimizer.minimize(lambda: poisoned(params, math.nan))
    assert equal(copies(params), before)


def test_a_loss_alone_is_enough() -> None:
    params = parameters()
    optimizer: Any = optim_core.get_wrapper("skip_nonfinite")(torch.optim.SGD(params, lr=0.1))
    optimizer.minimize(lambda: poisoned(params, 1.0) + math.inf)
    assert (optimizer.stepped, optimizer.left_out) == (False, 1)


def squares(params: list[Parameter], xs: list[float]) -> Tensor:
    """The mean over xs of a loss that is not quadratic."""
    losses = [(p - x).square().sum() + (x * p).cos().sum() for p in params for x in xs]
    return torch.stack(losses).sum() / len(xs)


@pytest.mark.parametrize("base", ["sgd", "torch:sgd"])
@pytest.mark.parametrize("saved", [False, True])
def test_svrg_does_what_the_paper_says(base: str, saved: bool) -> None:
    data = [0.3, -1.0, 2.0, 0.7]

    def build() -> tuple[Any, list[Parameter]]:
        params = parameters()
        inner = optim_core.get(base)(params, lr=0.05)
        return optim_core.get_wrapper("svrg")(inner, full_loss=lambda: squares(params, data), period=3), params

    optimizer, params = build()
    others = parameters()
    for t in range(8):
        if saved and t == 4:
            held, values = optimizer.state_dict(), copies(params)
            optimizer, params = build()
            with torch.no_grad():
                for p, x in zip(params, values, strict=True):
                    p.copy_(x)
            optimizer.load_state_dict(held)
        if t % 3 == 0:
            snapshot = [Parameter(p.detach().clone()) for p in others]
            full = torch.autograd.grad(squares(snapshot, data), snapshot)
        here, there = (torch.autograd.grad(squares(w, [data[t % 4]]), w) for w in (others, snapshot))
        with torch.no_grad():
            for p, g, h, mu in zip(others, here, there, full, strict=True):
                p.sub_(0.05 * (g - h + mu))
        optimizer.minimize(lambda t=t, params=params: squares(params, [data[t % 4]]))
    assert_close(params, others)


def length_of(tensors: list[Tensor]) -> Tensor:
    return torch.cat([x.reshape(-1) for x in tensors]).norm()


METHODS = ["torch:adam", "adamw", "shampoo", "torch:sgd"]


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("direction", METHODS)
@pytest.mark.parametrize("base", ["sgd", "torch:adam"])
def test_grafting_does_what_the_paper_says(base: str, direction: str, scope: str) -> None:
    def build() -> tuple[Any, list[Parameter]]:
        params = parameters()
        inner = optim_core.get(base)([{"params": params[:1]}, {"params": params[1:], "lr": 0.02}], lr=0.1)
        return optim_core.get_wrapper("graft")(inner, direction=direction, scope=scope), params

    optimizer, params = build()
    others, third = parameters(), parameters()
    length = optim_core.get(base)([{"params": others[:1]}, {"params": others[1:], "lr": 0.02}], lr=0.1)
    way = optim_core.get(direction)(third)
    for t in range(6):
        if t == 3:  # a checkpoint
            held, values = optimizer.state_dict(), copies(params)
            optimizer, params = build()
            with torch.no_grad():
                for p, x in zip(params, values, strict=True):
                    p.copy_(x)
            optimizer.load_state_dict(held)
        before = copies(others)
        for list_of in (others, third):
            for p, g in zip(list_of, torch.autograd.grad(squares(others, [0.3, 0.1 * t]), others), strict=True):
                p.grad = g
        length.step()
        m = [p.detach() - w for p, w in zip(others, before, strict=True)]
        way.step()
        d = [p.detach() - w for p, w in zip(third, before, strict=True)]
        with torch.no_grad():
            for p, q, w, x, y in zip(others, third, before, m, d, strict=True):
                longer, long = (length_of(zs if scope == "model" else [z]) for zs, z in ((m, x), (d, y)))
                p.copy_(w + y * longer / long)
                q.copy_(p)
        optimizer.minimize(lambda t=t, params=params: squares(params, [0.3, 0.1 * t]))
    assert_close(params, others, tolerance=1e-9)  # roots of matrices magnify rounding


def test_what_cannot_give_a_direction_says_so() -> None:
    for direction in ("lbfgs", "noisysgd", "prodigy"):
        with pytest.raises(WrapperConflict, match=r"cannot give the direction, since it .*: choose a method such as"):
            optim_core.get_wrapper("graft")(torch.optim.SGD(parameters(), lr=0.1), direction=direction)


def test_grafting_goes_on_where_a_wrapper_regroups_parameters() -> None:
    params = parameters()
    optimizer = optim_core.get_wrapper("graft")(torch.optim.SGD(params, lr=0.1))
    moved = optimizer.param_groups[0]["params"].pop()
    optimizer.add_param_group({"params": [moved], "lr": 0.05})
    before = copies(params)
    optimizer.minimize(lambda: torch.stack([p.square().sum() for p in params]).sum())
    assert not any(map(torch.equal, before, params))
