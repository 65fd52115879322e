"""The wrappers that evaluate twice a step: driven in every way, they do the same, and leave nothing behind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.methods import two_step_wrappers
from support.small import copies, equal, finite, named, parameters
from support.two_steps import STEPS, batches, by_hand, loss, minimized, period, scaled, sgd, wrapped
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, SparseGradient, UnsupportedParameter

each = pytest.mark.parametrize("name", two_step_wrappers())


# ways to take a step -------------------------------------------------------------------------------------------
def stepped(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(params, t)
        value.backward()
        return value

    optimizer.step(closure)


def by_hand_always_twice(optimizer: Any, params: list[Parameter], t: int) -> None:
    optimizer.zero_grad(set_to_none=False)
    loss(params, t).backward()
    optimizer.first_step(zero_grad=False)
    optimizer.zero_grad(set_to_none=False)
    loss(params, t).backward()
    optimizer.step()


def minimized_in_parts(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Iterator[Tensor]:
        for part in range(2):
            yield batches(params, t)[part]

    optimizer.minimize(closure)


def accumulated(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        parts = batches(params, t)
        for part in parts:
            part.backward(retain_graph=True)
        return torch.stack(parts).sum().detach()

    optimizer.step(closure)


def accumulated_by_hand(optimizer: Any, params: list[Parameter], t: int) -> None:
    optimizer.zero_grad()
    for move in (optimizer.first_step, optimizer.second_step):
        for part in range(2):
            batches(params, t)[part].backward()
        move()


WAYS = (stepped, by_hand, by_hand_always_twice, minimized_in_parts, accumulated, accumulated_by_hand, scaled)


@each
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("base", [sgd, lambda params: optim_core.get("adamw")(list(zip("ab", params, strict=True)))])
def test_all_ways_give_the_same_numbers(name: str, way: Callable[..., None], base: Any) -> None:
    options = {"scale": "all"} if "scale" in optim_core.get_wrapper(name).hypers else {}
    ends = []
    for drive in (minimized, way):
        params = parameters()
        optimizer = wrapped(name, base(params), **options)
        for t in range(STEPS):
            drive(optimizer, params, t)
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-14)


@each
def test_engines_agree(name: str) -> None:
    ends = []
    for engine in ("eager", "native"):
        params = parameters()
        base = optim_core.get("sgd")(named(params), lr=0.1, engine=engine)
        optimizer = wrapped(name, base)
        for t in range(STEPS):
            minimized(optimizer, params, t)
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-14)


@each
def test_the_excursion_leaves_nothing_behind(name: str) -> None:
    params = parameters(dtype=torch.bfloat16)
    optimizer = wrapped(name, sgd(params, lr=0.0))
    before = copies(params)
    places = [p.data_ptr() for p in params]
    for t in range(STEPS):
        by_hand(optimizer, params, t)
    assert equal(params, before)
    assert places == [p.data_ptr() for p in params]
    assert set(optimizer.state_dict()) == {"state", "param_groups"}


@each
def test_weights_come_back_when_the_second_evaluation_fails(name: str) -> None:
    params = parameters()
    model = nn.BatchNorm1d(3)
    optimizer = wrapped(name, sgd(params), model=model)
    before = copies(params)

    def failing() -> Tensor:
        if optimizer._away:
            raise RuntimeError("out of data")
        return loss(params, 0)

    with pytest.raises(RuntimeError, match="out of data"):
        optimizer.minimize(failing)
    assert equal(params, before)
    assert model.momentum == 0.1
    assert model.track_running_stats
    loss(params, 0).backward()
    optimizer.first_step()
    assert not torch.equal(params[0], before[0])
    optimizer.restore()
    assert equal(params, before)
    minimized(optimizer, params, 0)


@each
def test_gradients_of_zero_move_nothing(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, torch.optim.SGD(list(zip(("a.weight", "b"), params, strict=True)), lr=0.1))
    before = copies(params)
    for _ in range(STEPS):
        optimizer.minimize(lambda: sum((0.0 * p).sum() for p in params))
    assert equal(params, before)


@each
def test_parameters_without_a_gradient_in_one_of_the_evaluations(name: str) -> None:
    for absent in (True, False):
        params = parameters()
        optimizer = wrapped(name, sgd(params))
        before = params[1].detach().clone()
        for _ in range(2):
            optimizer.zero_grad()
            loss([params[0], params[1].detach()] if absent else params, 0).backward()
            optimizer.first_step()
            loss(params if absent else [params[0], params[1].detach()], 0).backward()
            optimizer.second_step()
        assert finite(params)
        assert absent or type(optimizer).fall is not None or torch.equal(params[1], before)


@each
def test_a_parameter_takes_the_place_of_another_between_the_evaluations(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, torch.optim.SGD(list(zip(("a.weight", "b.weight"), params, strict=True)), lr=0.1))
    before = copies(params)
    params[0].sum().backward()
    optimizer.first_step()
    params[1].square().sum().backward()
    optimizer.second_step()
    assert finite(params)
    assert not torch.equal(params[1], before[1])


@each
def test_parameters_in_another_memory_format(name: str) -> None:
    ends = []
    for form in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 3)).to(dtype=torch.float64, memory_format=form)
        optimizer = wrapped(name, torch.optim.SGD(model.named_parameters(), lr=0.1))
        x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
        for _ in range(STEPS):
            optimizer.minimize(lambda: model(x).square().mean())  # noqa: B023
        ends.append([p.detach().contiguous() for p in model.parameters()])
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-12)


@each
def test_gradients_that_do_not_fit_are_refused_and_nothing_has_moved(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, sgd(params), **period(name, 1))
    mixes = optimizer.expressions()[1] is not None
    for second in (False, True) if mixes else (False,):
        minimized(optimizer, params, 0)
        before = copies(params)
        optimizer.zero_grad()
        loss(params, 0).backward()
        if second:
            optimizer.first_step()
            loss(params, 0).backward()
        params[1].grad = torch.ones(3, dtype=torch.float64).to_sparse()
        for _ in range(2):
            with pytest.raises(SparseGradient, match=r"sparse gradient for a parameter of shape \(3,\)"):
                optimizer.second_step() if second else optimizer.first_step()
        optimizer.restore()
        optimizer.zero_grad()
        assert equal(params, before)
    loss(params, 0).backward()
    params[0].data = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(UnsupportedParameter, match=r"a gradient of shape \(3, 4\) .* does not fit .* \(2, 2\)"):
        optimizer.first_step()
    assert params[0].eq(1).all()


@each
def test_a_second_step_that_fails_can_be_taken_again(name: str) -> None:
    """With other gradients, those of a parameter among them that had none before."""
    ends = []
    for fails in (False, True):
        params = parameters()
        optimizer = wrapped(name, sgd(params), **period(name, 1))
        minimized(optimizer, params, 0)
        optimizer.zero_grad()
        (params[0] ** 2).sum().backward()
        optimizer.first_step()
        if fails and optimizer.expressions()[1] is not None:
            (params[0] ** 3).sum().backward()
            params[1].grad = torch.ones(3, dtype=torch.float64).to_sparse()
            with pytest.raises(SparseGradient):
                optimizer.second_step()
            optimizer.zero_grad()
        loss(params, 1).backward()
        optimizer.second_step()
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


@each
def test_a_plain_step_says_what_to_do(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, sgd(params))
    loss(params, 0).backward()
    with pytest.raises(ClosureError, match=r"minimize\(closure\).*all parts of the batch.*first_step\(\)"):
        optimizer.step()
    optimizer.zero_grad()
    with pytest.raises(ClosureError, match=r"found no gradients: call backward\(\) before it"):
        optimizer.first_step()
    minimized(optimizer, params, 0)


# mixed precision -----------------------------------------------------------------------------------------------
@each
@pytest.mark.parametrize("overflowing", [0, 1])
def test_an_overflow_skips_the_step_and_brings_the_weights_back(name: str, overflowing: int) -> None:
    params, others = parameters(), parameters()
    optimizer, plain = wrapped(name, sgd(params)), wrapped(name, sgd(others))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = copies(params)
    factors = [float("inf") if i == overflowing else 1.0 for i in range(2)]
    scaler.scale(loss(params, 0) * factors[0]).backward()
    scaler.unscale_(optimizer)
    optimizer.first_step()
    scaler.update()
    scaler.scale(loss(params, 0) * factors[1]).backward()
    scaler.step(optimizer)
    scaler.update()
    skipped = equal(params, before)
    # some make no use of the first gradient but to find their way, and have found none here
    assert skipped or overflowing == 0
    if not skipped:
        torch.optim.SGD(others, lr=0.1).step(lambda: loss(others, 0).backward())
        torch.testing.assert_close(params, others)
        for t in range(1, STEPS):
            scaled(optimizer, params, t)
        assert finite(params)
        return
    for t in range(1, STEPS):
        scaled(optimizer, params, t)
        minimized(plain, others, t)
    torch.testing.assert_close(params, others)


def test_a_scaler_takes_no_closure() -> None:
    params = parameters()
    optimizer = wrapped("sam", sgd(params))
    scaler = torch.amp.GradScaler("cpu")
    for closure, text in (
        (None, r"first_step\(\) and second_step\(\)"),
        (lambda: None, "GradScaler takes no closures"),
    ):
        scaler.scale(loss(params, 0)).backward()
        with pytest.raises(ClosureError, match=text):
            scaler.step(optimizer, closure)
        optimizer = wrapped("sam", sgd(params))


# batch normalisation -------------------------------------------------------------------------------------------
def network(momentum: float | None = 0.1) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, momentum=momentum),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.InstanceNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm2d(4).eval(),
        nn.Flatten(),
        nn.Linear(4 * 9, 1),
    )


@each
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("way", ["minimize", "by hand"])
def test_running_statistics_count_the_first_evaluation_only(name: str, momentum: float | None, way: str) -> None:
    model = network(momentum)
    optimizer = optim_core.create_optimizer(model, "torch:sgd", lr=0.01, wrappers=[name])
    assert optimizer.model is model  # type: ignore[attr-defined]
    settings = [(m.momentum, m.track_running_stats) for m in model if hasattr(m, "momentum")]
    for t in range(3):
        x = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(t))
        once = copy.deepcopy(model)
        once(x)
        drive: Any = {"minimize": minimized, "by hand": by_hand}[way]
        drive(optimizer, [], 0, lambda *_, x=x: model(x).square().mean())
        for (key, got), wanted in zip(model.named_buffers(), once.buffers(), strict=True):
            torch.testing.assert_close(got, wanted, msg=key)
    assert settings == [(m.momentum, m.track_running_stats) for m in model if hasattr(m, "momentum")]


@each
@pytest.mark.parametrize("same", [True, False])
def test_both_evaluations_see_the_same_dropout(name: str, same: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 1))
    masks: list[Tensor] = []
    model[1].register_forward_hook(lambda _, __, out: masks.append(out != 0))
    wrappers = [(name, {"same_draws": same})]
    optimizer: Any = optim_core.create_optimizer(model, "torch:sgd", lr=0.0, wrappers=wrappers)
    torch.manual_seed(1)
    x = torch.ones(8, 4)
    model(x)
    after_one = torch.get_rng_state()
    torch.manual_seed(1)
    optimizer.minimize(lambda: model(x).square().mean())
    here, there = masks[-2:]
    assert (torch.equal(masks[0], here), torch.equal(torch.get_rng_state(), after_one)) == (True, same)
    assert float((here == there).float().mean()) > 0.9 if same else not torch.equal(here, there)


@each
def test_second_step_zeroes_gradients_if_asked(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, sgd(params))
    for zero in (False, True):
        loss(params, 0).backward()
        optimizer.first_step(zero_grad=True)
        loss(params, 0).backward()
        optimizer.second_step(zero_grad=zero)
        assert all((p.grad is None) is zero for p in params)
