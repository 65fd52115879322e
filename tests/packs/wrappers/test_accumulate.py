"""Gradient accumulation: several micro-batches make one step, whatever is inside, outside, and in between."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import optimizers, two_step_wrappers
from support.small import equal, reloaded
from support.wrappers import around, base_only_specs
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import LossMissing, NotTraining, SparseGradient, WrapperConflict
from optim_core.testing.problems import PROBLEMS

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

PROBLEM: Any = PROBLEMS["net"]
OPTIMIZERS = optimizers(without=("total_steps",))
SPECS = base_only_specs()
each_optimizer = pytest.mark.parametrize("spec", OPTIMIZERS, ids=lambda spec: spec.name)
each_wrapper = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def loss(params: list[Parameter], t: int) -> Tensor:
    return PROBLEM.loss(params, t)


def named(params: list[Parameter]) -> list[Any]:
    return [(f"{i}.{'weight' if p.ndim > 1 else 'bias'}", p) for i, p in enumerate(params)]


def built(base: str | Callable[[list[Any]], Any], *wrappers: Any) -> tuple[list[Parameter], Any]:
    """Parameters, and an optimizer over them; wrappers are names, or (name, options)."""
    torch.manual_seed(0)  # some draw
    params = PROBLEM.parameters()
    optimizer = (optim_core.get(base) if isinstance(base, str) else base)(named(params))
    for wrapper in wrappers:
        name, options = (wrapper, {}) if isinstance(wrapper, str) else wrapper
        optimizer = around(optimizer, name, **options)
    return params, optimizer


def accumulate(steps: int = 2, **options: Any) -> tuple[str, dict[str, Any]]:
    return "accumulate", {"steps": steps, **options}


def run(optimizer: Any, params: list[Parameter], micro_batches: range, value: Any = loss) -> None:
    for t in micro_batches:
        optimizer.minimize(lambda t=t: value(params, t))


def accumulator(optimizer: Any) -> Any:
    return next(wrapper for wrapper in (optimizer, *optimizer.inside) if wrapper.accumulates)


def both(params: list[Parameter], t: int) -> Tensor:
    """The loss of two micro-batches, as one batch."""
    return (loss(params, 2 * t) + loss(params, 2 * t + 1)) / 2


def several(spec: Any) -> Callable[[list[Parameter], int], Any]:
    return (lambda params, t: [loss(params, t), loss(params, t + 7)]) if "multi_loss" in spec.needs else loss


def close(a: list[Parameter], b: list[Parameter]) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def momentum(params: list[Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=0.1, momentum=0.9)


# what is inside ------------------------------------------------------------------------------------------------
@each_optimizer
def test_two_micro_batches_are_one_batch_of_their_mean(spec: Any) -> None:
    if {"closure", "create_graph"} & set(spec.needs):
        with pytest.raises(WrapperConflict, match=rf"cannot go around {spec.class_name}, which .* let the closure"):
            built(spec.name, accumulate())
        return
    torch.manual_seed(0)
    params, optimizer = built(spec.name, accumulate())
    torch.manual_seed(0)
    others, plain = built(spec.name)

    def halves(t: int) -> Any:
        return lambda: (loss(others, 2 * t + half) / 2 for half in range(2))  # adds up in the same order

    for t in range(4):
        run(optimizer, params, range(2 * t, 2 * t + 2))
        plain.minimize(halves(t))
        assert equal(params, others)


def test_asgd_that_evaluates_once_accumulates() -> None:
    params, optimizer = built(lambda ps: optim_core.get("asgd")(ps, consecutive=True), accumulate())
    others, plain = built(lambda ps: optim_core.get("asgd")(ps, consecutive=True))
    run(optimizer, params, range(6))
    run(plain, others, range(3), both)
    close(params, others)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_a_window_is_put_together_like_its_gradients(reduction: str) -> None:
    params, optimizer = built("alig", accumulate(3, reduction=reduction))
    others, plain = built("alig")
    factor = 3 if reduction == "mean" else 1
    for t in range(0, 6, 3):
        run(optimizer, params, range(t, t + 3))
        plain.minimize(lambda t=t: sum(loss(others, t + i) for i in range(3)) / factor)
    close(params, others)


def test_a_loss_that_is_missing_for_a_micro_batch_is_missing() -> None:
    for by_hand in (0, 1):
        params, optimizer = built("alig", accumulate())
        with pytest.raises(LossMissing, match="was called without it"):  # noqa: PT012 - the second call raises
            for t in range(2):
                if t == by_hand:
                    loss(params, t).backward()
                    optimizer.step()
                else:
                    run(optimizer, params, range(t, t + 1))
        assert equal(params, PROBLEM.parameters())


def test_labels_are_sampled_once_in_a_window() -> None:
    params, optimizer = built(lambda ps: optim_core.get("sophiag")(ps, update_period=2), accumulate(3))
    sampled: list[int] = []

    def closure(t: int) -> Tensor:
        if optimizer.innermost.sampling:
            sampled.append(t)
        return loss(params, t)

    for t in range(15):  # five steps; estimates are due after the second and the fourth
        optimizer.minimize(lambda t=t: closure(t))
    assert sampled == [6, 12]


# loops ---------------------------------------------------------------------------------------------------------
def zeroing(*, set_to_none: bool) -> Callable[[Any, list[Parameter], int], None]:
    def way(optimizer: Any, params: list[Parameter], t: int) -> None:
        optimizer.zero_grad(set_to_none)
        loss(params, t).backward()
        optimizer.step()

    return way


def never_zeroing(optimizer: Any, params: list[Parameter], t: int) -> None:
    loss(params, t).backward()
    optimizer.step()


def zeroing_after_a_step(optimizer: Any, params: list[Parameter], t: int) -> None:
    loss(params, t).backward()
    optimizer.step()
    if optimizer.stepped:
        optimizer.zero_grad()


def stepping_with_a_closure(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(params, t)
        value.backward()
        return value

    before = loss(params, t)
    assert torch.equal(optimizer.step(closure), before)


WAYS = {
    "zeroing to none": zeroing(set_to_none=True),
    "zeroing to zero": zeroing(set_to_none=False),
    "never zeroing": never_zeroing,
    "zeroing after a step": zeroing_after_a_step,
    "closure": stepping_with_a_closure,
}


@pytest.mark.parametrize("base", [momentum, "adamw"], ids=["torch", "rule"])
@pytest.mark.parametrize("way", WAYS)
def test_every_loop_counts_every_gradient_once(way: str, base: Any) -> None:
    params, optimizer = built(base, accumulate(3))
    others, twin = built(base, accumulate(3))
    for t in range(9):
        WAYS[way](optimizer, params, t)
        run(twin, others, range(t, t + 1))
        assert optimizer.stepped is twin.stepped is (t % 3 == 2)
        assert equal(params, others)
        assert all(p.grad is None for p in params)
        held = [x for mine in optimizer.memory.values() for x in mine.values() if isinstance(x, Tensor) and x.ndim]
        assert [x.shape for x in held] == [p.shape for p in params]
        assert all(mine["taken"] == (t + 1) % 3 for mine in optimizer.memory.values())


def test_gradients_lie_where_they_did_if_the_user_holds_them() -> None:
    params, optimizer = built(momentum, accumulate())
    loss(params, 0).backward()
    held = [p.grad for p in params]
    kept = [g.clone() for g in held]
    optimizer.step()
    run(optimizer, params, range(1, 2))
    assert equal(held, kept)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_parameters_without_gradients_in_some_micro_batches(reduction: str) -> None:
    a, b, c = (Parameter(torch.ones(2)) for _ in range(3))
    base = torch.optim.SGD([a, b, c], lr=1.0, momentum=0.9, weight_decay=0.5)
    optimizer = optim_core.get_wrapper("accumulate")(base, steps=2, reduction=reduction)
    optimizer.minimize(lambda: 0.5 * a.sum() + b.sum())
    optimizer.minimize(a.sum)
    n = 2 if reduction == "mean" else 1
    assert a.tolist() == [1 - 1.5 / n - 0.5] * 2
    assert b.tolist() == [1 - 1 / n - 0.5] * 2
    assert c.tolist() == [1.0, 1.0]
    assert c not in base.state
    optimizer.minimize(a.sum)
    optimizer.step()  # a micro-batch that reaches nothing counts
    assert optimizer.stepped
    assert b.tolist() == [1 - 1 / n - 0.5] * 2


def test_groups_that_join_in_mid_window() -> None:
    a, b = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    optimizer = optim_core.get_wrapper("accumulate")(optim_core.get("sgd")([a], lr=1.0), steps=2)
    optimizer.minimize(a.sum)
    optimizer.add_param_group({"params": [b], "lr": 0.5})
    optimizer.minimize(lambda: a.sum() + b.sum())
    assert a.tolist() == [0.0, 0.0]
    assert b.tolist() == [0.75, 0.75]


def test_low_precision_adds_up_in_float32() -> None:
    w = Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimizer = optim_core.get_wrapper("accumulate")(torch.optim.SGD([w], lr=1.0), steps=65, reduction="sum")
    for t in range(65):
        optimizer.minimize(lambda t=t: (w * (0.5 if t == 0 else 2.0**-11)).sum())
        assert t == 64 or optimizer.memory[w]["sum"].dtype is torch.float32
    assert w.item() == 1 - (0.5 + 64 * 2.0**-11)


# wrappers ------------------------------------------------------------------------------------------------------
@each_wrapper
def test_wrappers_inside_and_outside(spec: Any) -> None:
    value = several(spec)
    if "closure" in spec.needs:
        with pytest.raises(WrapperConflict, match=r"more than once.* put Accumulate inside"):
            built(momentum, spec.name, accumulate())
        return
    ends, refusal = [], ""
    for chain in ((spec.name, accumulate()), (accumulate(), spec.name)) if spec.name != "accumulate" else ():
        try:
            params, optimizer = built(momentum, *chain)
        except WrapperConflict as conflict:
            refusal = str(conflict)
            continue
        run(optimizer, params, range(12), value)
        ends.append(params)
    assert not refusal or re.search("inside steps once for several calls: put Accumulate around", refusal)
    assert ends or spec.name == "accumulate"
    for params in ends[1:]:
        close(params, ends[0])
    if ends and value is loss:
        others, plain = built(momentum, spec.name)
        run(plain, others, range(6), both)
        close(others, ends[0])


@pytest.mark.parametrize("outer", [["lookahead", "ema"], ["ema", "lookahead"], ["clip", "gc"]])
def test_outer_wrappers_act_on_whole_windows(outer: list[str]) -> None:
    options: dict[str, Any] = {"lookahead": {"k": 2}, "ema": {"decay": 0.5}, "clip": {"max_norm": 0.1}, "gc": {}}
    chain = [(name, options[name]) for name in outer]
    params, optimizer = built("adamw", accumulate(), *chain)
    others, plain = built("adamw", *chain)
    run(optimizer, params, range(12))
    run(plain, others, range(6), both)
    close(params, others)
    layer, other = optimizer, plain
    while hasattr(layer, "base") and layer.method.name != "Accumulate":
        assert layer.counters == other.counters
        layer, other = layer.base, other.base


@pytest.mark.parametrize("name", two_step_wrappers())
def test_two_evaluations_of_each_micro_batch(name: str) -> None:
    """A sharpness-aware method outside: the base steps with the mean of its gradients, each of one micro-batch."""
    switch = {"decouple": False} if "decouple" in optim_core.get_wrapper(name).hypers else {}
    ends = []
    for way in ("minimize", "by hand"):
        params, optimizer = built(momentum, accumulate(), (name, switch))
        for t in range(6):
            if way == "minimize":
                run(optimizer, params, range(t, t + 1))
            else:
                loss(params, t).backward()
                optimizer.first_step()
                loss(params, t).backward()
                optimizer.second_step()
            assert optimizer.stepped is (t % 2 == 1)
        ends.append(params)
    close(*ends)
    params, optimizer = built(momentum, accumulate(), (name, switch))
    run(optimizer, params, range(2))
    gradients = []
    for t in range(2):  # SGD with lr = 1 shows what a method hands on
        others, single = built(lambda ps: torch.optim.SGD(ps, lr=1.0), (name, switch))
        run(single, others, range(t, t + 1))
        gradients.append([p.detach() - q.detach() for p, q in zip(PROBLEM.parameters(), others, strict=True)])
    expected = [p.detach() - 0.05 * (g + h) for p, g, h in zip(PROBLEM.parameters(), *gradients, strict=True)]
    torch.testing.assert_close([p.detach() for p in params], expected, rtol=1e-9, atol=1e-11)


def test_what_acts_beside_the_step_of_one_call_is_refused() -> None:
    with pytest.raises(WrapperConflict, match=r"WSAM: decouple=True .*Accumulate inside steps once.*decouple=False"):
        built(momentum, accumulate(), "wsam")
    with pytest.raises(WrapperConflict, match="Accumulate is there already"):
        built(momentum, accumulate(), accumulate())


# what counts as a step -----------------------------------------------------------------------------------------
def test_a_scheduler_counts_the_steps_of_the_base() -> None:
    params, optimizer = built(momentum, accumulate(3), "lookahead")
    others, plain = built(momentum, "lookahead")
    rates = [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in (optimizer, plain)]
    for t in range(9):
        run(optimizer, params, range(t, t + 1))
        if optimizer.stepped:
            rates[0].step()
    for t in range(3):
        plain.minimize(lambda t=t: sum(loss(others, 3 * t + i) for i in range(3)) / 3)
        rates[1].step()
    assert rates[0].get_last_lr() == rates[1].get_last_lr() == [0.1 / 8]
    close(params, others)


def test_hooks_of_the_base_see_its_steps() -> None:
    params, optimizer = built("adamw", accumulate(3))
    calls: list[int] = []
    optimizer.base.register_step_post_hook(lambda *_: calls.append(1))
    run(optimizer, params, range(7))
    assert len(calls) == 2
    assert not optimizer.stepped
    assert optimizer.state[params[0]]["step"] == 2


@pytest.mark.parametrize("outer", [(), ("lookahead", ("ema", {"decay": 0.5})), (("sam", {}),)], ids=str)
def test_flush_steps_with_what_is_there(outer: tuple[Any, ...]) -> None:
    (params, optimizer), (others, twin) = (built(momentum, accumulate(4), *outer) for _ in range(2))
    assert not optimizer.flush()
    run(optimizer, params, range(6))
    assert not optimizer.stepped
    loss(params, 6).backward()  # not taken in yet
    left = [p.grad for p in params]
    assert optimizer.flush()
    assert optimizer.stepped
    assert not optimizer.flush()
    assert all(p.grad is g for p, g in zip(params, left, strict=True))
    run(twin, others, range(4))
    accumulator(twin).options["steps"] = 2
    run(twin, others, range(4, 6))
    assert equal(params, others)
    assert not optim_core.get_wrapper("lookahead")(momentum(PROBLEM.parameters())).flush()


def test_flush_takes_the_mean_of_fewer() -> None:
    params, optimizer = built("alig", accumulate(5), "lookahead")
    others, plain = built("alig", "lookahead")
    run(optimizer, params, range(2))
    optimizer.flush()
    plain.minimize(lambda: both(others, 0))
    close(params, others)
    assert optimizer.counters == plain.counters


def test_gradients_at_the_average_are_refused_before_they_are_taken_in() -> None:
    for base, outer in ((momentum, (("ema", {}),)), ("schedulefreesgd", ())):
        (params, optimizer), (others, twin) = (built(base, accumulate(2), *outer) for _ in range(2))
        run(optimizer, params, range(3))
        keeper = accumulator(optimizer)
        before = copy.deepcopy(keeper.memory[params[0]]["sum"])
        optimizer.eval()
        loss(params, 0).backward()
        for act in (optimizer.step, optimizer.flush):
            with pytest.raises(NotTraining, match=r"optimizer\.train\(\)"):
                act()
        assert torch.equal(keeper.memory[params[0]]["sum"], before)
        assert keeper.counters["taken"] == 1
        optimizer.train()
        optimizer.zero_grad()
        run(optimizer, params, range(3, 4))
        assert optimizer.stepped
        run(twin, others, range(4))
        close(params, others)


def test_a_step_that_fails_keeps_the_window() -> None:
    params, optimizer = built("adamw", accumulate(2), "lookahead")
    others, twin = built("adamw", accumulate(2), "lookahead")
    hook = optimizer.innermost.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(optimizer, params, range(2))
    assert not optimizer.stepped
    assert equal(params, PROBLEM.parameters())
    hook.remove()
    assert optimizer.flush()
    run(twin, others, range(2))
    assert equal(params, others)


# saving --------------------------------------------------------------------------------------------------------
CHAINS: list[tuple[Any, ...]] = [
    ("adamw", accumulate(3)),
    ("torch:adamw", accumulate(3)),
    ("alig", accumulate(3)),
    ("sgd", "lookahead", accumulate(3), "sam", "ema"),
    ("lion", "ema", "clip", accumulate(3, reduction="sum"), "gc", ("lookahead", {"k": 2})),
]


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_resumes_bit_for_bit_in_mid_window(chain: tuple[Any, ...]) -> None:
    for at in (4, 5, 6):
        params, optimizer = built(*chain)
        run(optimizer, params, range(at))
        saved = reloaded(optimizer.state_dict())
        others, resumed = built(*chain)
        for p, q in zip(params, others, strict=True):
            q.data.copy_(p.data)
        resumed.load_state_dict(saved)
        third, twin = copy.deepcopy((params, optimizer))
        for each, which in ((params, optimizer), (others, resumed), (third, twin)):
            run(which, each, range(at, 11))
            which.flush()
        assert equal(params, others)
        assert equal(params, third)


# GradScaler ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("outer", [(), ("lookahead",), (("ema", {"decay": 0.5}), "gc")], ids=str)
@pytest.mark.parametrize("base", [momentum, "adamw"], ids=["torch", "rule"])
def test_a_micro_batch_that_overflows_is_left_out(base: Any, outer: tuple[Any, ...]) -> None:
    params, optimizer = built(base, accumulate(3), *outer)
    others, twin = built(base, accumulate(3), *outer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)  # the scale changes in mid-window
    for t in range(7):
        for factor in (float("nan"), 1.0) if t in (0, 2, 4) else (1.0,):
            optimizer.zero_grad()
            scaler.scale(factor * loss(params, t).float()).backward()
            scaler.step(optimizer)
            scaler.update()
            assert optimizer.stepped is (factor == 1 and t % 3 == 2)
        twin.minimize(lambda t=t: loss(others, t).float())
        close(params, others)
    optimizer.flush()
    twin.flush()
    close(params, others)


# refusing and showing ------------------------------------------------------------------------------------------
def test_sparse_gradients_are_refused_before_anything_is_taken_in() -> None:
    embedding, linear = nn.Embedding(5, 3, sparse=True), nn.Linear(3, 1)
    params = [*linear.parameters(), *embedding.parameters()]
    optimizer = optim_core.get_wrapper("accumulate")(torch.optim.SGD(params, lr=0.1), steps=2)
    with pytest.raises(SparseGradient, match=r"Accumulate got a sparse gradient.*sparse=False"):
        optimizer.minimize(lambda: linear(embedding(torch.tensor([1, 2]))).sum())
    assert not optimizer.memory
    assert optimizer.counters["taken"] == 0


def test_conflicts_name_what_is_inside_and_the_remedy() -> None:
    remedy = r"let the closure of minimize\(\) yield the loss of each, divided by their number"
    for chain, text in {
        ("asgd",): rf"ASGD, which evaluates the loss more than once.*{remedy}",
        ("adahessian",): rf"AdaHessian, which differentiates the gradients.*{remedy}",
        ("asgd", "lookahead"): rf"ASGD, which evaluates the loss more than once.*{remedy}",
        (
            "sgd",
            "sam",
            "lookahead",
        ): rf"SAM, which evaluates the loss more than once.*{remedy}; or put Accumulate",
    }.items():
        with pytest.raises(WrapperConflict, match=f"Accumulate cannot go around {text}"):
            built(*chain, accumulate())


def test_explain_shows_the_wrapper_and_its_buffer() -> None:
    model = nn.Linear(4, 3).to(torch.bfloat16)
    plain = optim_core.create_optimizer(model, "sgd", lr=0.1)
    optimizer = optim_core.create_optimizer(model, "sgd", lr=0.1, wrappers=[("gradient_accumulation", {"steps": 8})])
    rows = zip(optim_core.explain(plain), optim_core.explain(optimizer), strict=True)
    assert [row.state_bytes - before.state_bytes for before, row in rows] == [4 * 12, 4 * 3]
    assert "Accumulate(steps=8, reduction=mean)" in str(optim_core.explain(optimizer))
