"""Wrappers share everything with their base, keep what they have, and combine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import open_ended
from support.small import copies, equal, named, parameters, reloaded
from support.wrappers import around, base_only_specs
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import CheckpointMismatch, ClosureError, InvalidOption, UnknownOption, WrapperConflict
from optim_core.optimizers.closures import backward

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

BASES: dict[str, Callable[[Any], Any]] = {
    "torch sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
    "torch adamw": lambda params: torch.optim.AdamW(params, lr=0.01),
    "sgd": lambda params: optim_core.get("sgd")(params, lr=0.05, momentum=0.9),
    "adamw": lambda params: optim_core.get("adamw")(params, lr=0.01),
}
SPECS = base_only_specs()
CHAINS = [[spec.name] for spec in SPECS] + [["gc", "sam", "lookahead"], ["pcgrad", "sam"], ["sam", "pcgrad"]]


def given(names: list[str], params: list[Parameter]) -> list[Any]:
    """The parameters as the base gets them: with names, if a wrapper needs them."""
    wanted = any("named_params" in optim_core.info(name).needs for name in names)
    return named(params) if wanted else list(params)


def losses(params: list[Parameter], t: int) -> list[Tensor]:
    a, b = params
    return [(a.sum(1) - b - 0.1 * t).square().mean(), (a.square().sum(1) + b).square().mean()]


def chained(base: Any, names: list[str]) -> Any:
    for name in names:
        base = around(base, name)
    return base


def several(names: list[str]) -> bool:
    return any("multi_loss" in optim_core.info(name).needs for name in names)


def closure(names: list[str], params: list[Parameter], t: int) -> Callable[[], Any]:
    return lambda: losses(params, t) if several(names) else torch.stack(losses(params, t)).sum()


def run(optimizer: Any, names: list[str], params: list[Parameter], steps: range) -> None:
    for t in steps:
        optimizer.minimize(closure(names, params, t))


each_base = pytest.mark.parametrize("base", BASES.values(), ids=BASES)
each_chain = pytest.mark.parametrize("names", CHAINS, ids=["+".join(c) for c in CHAINS])


@each_base
@each_chain
def test_shares_groups_state_and_schedules(base: Any, names: list[str]) -> None:
    params = parameters()
    inner = base(given(names, params))
    optimizer = chained(inner, names)
    assert isinstance(optimizer, torch.optim.Optimizer)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    lr = inner.param_groups[0]["lr"]
    run(optimizer, names, params, range(2))
    scheduler.step()
    assert optimizer.param_groups is inner.param_groups
    assert optimizer.state is inner.state
    assert inner.param_groups[0]["lr"] == lr / 2
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups is inner.param_groups
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)


@each_base
@each_chain
def test_resumes_bit_for_bit(base: Any, names: list[str]) -> None:
    params = parameters()
    optimizer = chained(base(given(names, params)), names)
    run(optimizer, names, params, range(7))
    saved = reloaded(optimizer.state_dict())
    others = [Parameter(p.detach().clone()) for p in params]
    resumed = chained(base(given(names, others)), names)
    resumed.load_state_dict(saved)
    run(optimizer, names, params, range(7, 14))
    run(resumed, names, others, range(7, 14))
    assert equal(params, others)


@each_base
@each_chain
def test_copies_continue(base: Any, names: list[str]) -> None:
    params = parameters()
    optimizer = chained(base(given(names, params)), names)
    run(optimizer, names, params, range(3))
    others, twin = copy.deepcopy((params, optimizer))
    run(optimizer, names, params, range(3, 9))
    run(twin, names, others, range(3, 9))
    assert equal(params, others)


@pytest.mark.parametrize("gc_loc", [True, False])
def test_gc_composed_equals_gc_around(gc_loc: bool) -> None:
    ends = []
    for base in (torch.optim.Adam, optim_core.get("adam")):
        params = parameters()
        optimizer = optim_core.get_wrapper("gc")(base(params, lr=0.01), gc_loc=gc_loc)
        run(optimizer, ["gc"], params, range(5))
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-12)


def test_gc_leaves_the_gradients_alone() -> None:
    params = parameters()
    optimizer = optim_core.get_wrapper("gc")(torch.optim.SGD(params, lr=0.1))
    torch.stack(losses(params, 0)).sum().backward()
    before = [(p.grad, p.grad.clone()) for p in params]
    optimizer.step()
    assert all(p.grad is g and torch.equal(g, kept) for p, (g, kept) in zip(params, before, strict=True))


def test_sam_in_all_its_ways() -> None:
    ends = []
    for way in ("minimize", "closure", "by hand"):
        params = parameters()
        sam = optim_core.get_wrapper("sam")(torch.optim.SGD(params, lr=0.1), rho=0.2)

        def loss(params: list[Parameter] = params) -> Tensor:
            return torch.stack(losses(params, 0)).sum()

        def full(sam: Any = sam, loss: Any = loss) -> Tensor:
            sam.zero_grad()
            value = loss()
            value.backward()
            return value

        if way == "minimize":
            sam.minimize(loss)
        elif way == "closure":
            sam.step(full)
        else:
            full()
            sam.first_step()
            loss().backward()
            sam.second_step()
        ends.append(params)
    torch.testing.assert_close(ends[1], ends[0])
    torch.testing.assert_close(ends[2], ends[0])


def test_sam_puts_weights_back_when_the_second_evaluation_fails() -> None:
    params = parameters()
    sam = optim_core.get_wrapper("sam")(torch.optim.SGD(params, lr=0.1))
    before = copies(params)
    calls: list[int] = []

    def failing() -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of data")
        return torch.stack(losses(params, 0)).sum()

    with pytest.raises(RuntimeError, match="out of data"):
        sam.minimize(failing)
    assert equal(params, before)


def test_order_of_sam_and_pcgrad_does_not_matter() -> None:
    ends = []
    for names in (["sam", "pcgrad"], ["pcgrad", "sam"]):
        params = parameters()
        run(chained(torch.optim.SGD(params, lr=0.05), names), names, params, range(3))
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1])


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
@pytest.mark.parametrize("name", open_ended())
def test_step_with_a_closure_gives_the_method_what_minimize_does(name: str) -> None:
    """The loss (ALI-G), gradients at other points (ASGD), on other labels (Sophia-G): through any wrapper."""
    ends = []
    for way in ("minimize", "closure"):
        torch.manual_seed(0)
        params = parameters()
        optimizer = around(optim_core.get(name)(given([name], params)), "lookahead", k=2)

        def loss(params: list[Parameter] = params, t: int = 0) -> Tensor:
            return torch.stack(losses(params, t)).sum()

        def full(optimizer: Any = optimizer, loss: Any = loss) -> Tensor:
            optimizer.zero_grad()
            value = loss()
            backward(value, create_graph=optimizer.needs_graph)
            return value

        for _ in range(4):
            if way == "minimize":
                optimizer.minimize(loss)
            else:
                optimizer.step(full)
        ends.append(params)
    assert equal(*ends)


def test_missing_closures_say_what_to_do() -> None:
    params = parameters()
    for p in params:
        p.grad = torch.zeros_like(p)
    sam = optim_core.get_wrapper("sam")(torch.optim.SGD(params, lr=0.1))
    with pytest.raises(ClosureError, match=r"SAM evaluates the loss more than once.*optimizer\.minimize\(closure\)"):
        sam.step()
    with pytest.raises(ClosureError, match=r"second_step\(\) comes after first_step\(\)"):
        sam.second_step()
    sam.first_step()
    with pytest.raises(ClosureError, match="has moved the weights"):
        sam.first_step()
    twice = optim_core.get_wrapper("lookahead")(optim_core.get("asgd")(params))
    with pytest.raises(ClosureError, match=r"ASGD evaluates the loss more than once.*optimizer\.minimize\(closure\)"):
        twice.step()
    assert not twice.memory
    pcgrad = optim_core.get_wrapper("pcgrad")(torch.optim.SGD(params, lr=0.1))
    with pytest.raises(ClosureError, match="a list of two or more losses"):
        pcgrad.minimize(params[0].sum)


def test_conflicts_are_refused_at_construction() -> None:
    params = parameters()
    with pytest.raises(WrapperConflict, match="LBFGS alone, with optim_core"):
        optim_core.get_wrapper("lookahead")(torch.optim.LBFGS(params))
    with pytest.raises(WrapperConflict, match="PCGrad cannot go around SophiaH"):
        optim_core.get_wrapper("pcgrad")(optim_core.get("sophia")(params))
    with pytest.raises(WrapperConflict, match=r"PCGrad cannot go around AliG.*is that of no loss\. Add the losses up"):
        optim_core.get_wrapper("pcgrad")(optim_core.get("alig")(params))
    with pytest.raises(WrapperConflict, match=r"SAM and LookSAM both move the weights .*: choose one"):
        chained(torch.optim.SGD(params, lr=0.1), ["looksam", "gc", "sam"])
    with pytest.raises(WrapperConflict, match="goes around an optimizer, not Linear"):
        optim_core.get_wrapper("sam")(nn.Linear(1, 1))
    with pytest.raises(UnknownOption, match="Lookahead has no option 'alfa'"):
        optim_core.get_wrapper("lookahead")(torch.optim.SGD(params, lr=1), alfa=1)
    with pytest.raises(InvalidOption, match=r"rho=-1\.0 is out of range"):
        optim_core.get_wrapper("sam")(torch.optim.SGD(params, lr=1), rho=-1)


def test_a_checkpoint_of_other_wrappers_is_refused_unchanged() -> None:
    params = parameters()
    plain = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    lookahead = optim_core.get_wrapper("lookahead")(torch.optim.SGD(params, lr=0.5, momentum=0.9))
    with pytest.raises(CheckpointMismatch, match="lacks Lookahead_steps: was it saved without Lookahead"):
        lookahead.load_state_dict(plain.state_dict())
    assert lookahead.param_groups[0]["lr"] == 0.5


def test_late_groups_and_hooks() -> None:
    params = parameters()
    optimizer = chained(torch.optim.SGD(params[:1], lr=0.1), ["sam", "lookahead"])
    optimizer.add_param_group({"params": params[1:]})
    calls: list[int] = []
    optimizer.base.base.register_step_post_hook(lambda *_: calls.append(1))
    run(optimizer, ["sam", "lookahead"], params, range(6))
    assert len(calls) == 6
    assert len(optimizer.memory) == 2


def test_explain_lists_wrappers_from_the_inside() -> None:
    optimizer = chained(torch.optim.SGD(parameters(), lr=0.1), ["gc", "lookahead"])
    row = next(iter(optimizer.explain()))
    assert [w.partition("(")[0] for w in row.wrappers] == ["GradientCentralization", "Lookahead"]
    assert "around it, from the inside out: GradientCentralization" in str(optimizer.explain())
