"""What the momentum pack promises beyond its trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, InvalidOption, LossMissing

C = torch.tensor([0.3, 1.1, 2.0], dtype=torch.float64)


def start() -> Parameter:
    return Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))


def loss(p: Tensor) -> Tensor:
    return 0.5 * (C * p.square()).sum() + 0.05 * (p**4).sum()


def gradient(x: Tensor) -> Tensor:
    return C * x + 0.2 * x**3


def path(optimizer: Any, p: Parameter, steps: int = 6) -> list[Tensor]:
    points = []
    for _ in range(steps):
        optimizer.minimize(lambda: loss(p))
        points.append(p.detach().clone())
    return points


# QHM under other names: each is simulated as its paper has it ---------------------------------------------------
def pid(k_p: float, k_i: float, k_d: float) -> Iterator[Tensor]:
    x0 = x = start().detach()
    beta = k_d / (k_d - k_p)
    last, sums, change = torch.zeros(3), torch.zeros(3), torch.zeros(3)
    while True:
        e = -gradient(x)
        sums, change, last = sums + e, beta * change + (1 - beta) * (e - last), e
        x = x0 + k_p * e + k_i * sums + k_d * change
        yield x


def nesterov(alpha: float, beta1: float, beta2: float) -> Iterator[Tensor]:
    old = x = y = start().detach()
    while True:
        x, old = x + beta1 * (x - old) - alpha * gradient(y), x
        y = x + beta2 * (x - old)
        yield y


def robust(smoothness: float, kappa: float, rho: float) -> Iterator[Tensor]:
    alpha = kappa * (1 - rho) ** 2 * (1 + rho) / smoothness
    gamma = rho**3 / ((kappa - 1) * (1 - rho) ** 2 * (1 + rho))
    return nesterov(alpha, kappa * rho**3 / (kappa - 1), gamma)


def two_states(h: float, k: float, l: float, m: float, q: float, z: float) -> Iterator[Tensor]:  # noqa: E741
    a, x = torch.zeros(3), start().detach()
    while True:
        g = gradient(x)
        a, x = h * a + k * x + l * g, m * a + q * x + z * g
        yield x


@pytest.mark.parametrize(
    ("constructor", "constants", "simulated"),
    [
        ("from_pid", {"k_p": -0.2, "k_i": 0.1, "k_d": 0.6}, pid),
        ("from_synthesized_nesterov", {"alpha": 0.1, "beta1": 0.7, "beta2": 0.4}, nesterov),
        ("from_robust_momentum", {"smoothness": 3.0, "kappa": 10.0, "rho": 0.8}, robust),
        # momentum: a' = 0.8 a + g, p' = p - 0.1 a'
        ("from_two_state_optimizer", {"h": 0.8, "k": 0.0, "l": 1.0, "m": -0.08, "q": 1.0, "z": -0.1}, two_states),
        ("from_two_state_optimizer", {"h": 0.0, "k": 0.0, "l": 1.0, "m": 0.0, "q": 1.0, "z": -0.1}, two_states),
    ],
)
def test_methods_that_qhm_contains(
    constructor: str, constants: dict[str, float], simulated: Callable[..., Iterator[Tensor]]
) -> None:
    p = start()
    optimizer = getattr(optim_core.get("qhm"), constructor)([p], **constants)
    torch.testing.assert_close(path(optimizer, p), [x for x, _ in zip(simulated(**constants), range(6), strict=False)])


def test_qhm_contains_accsgd() -> None:
    p, q = start(), start()
    constants = {"lr": 0.05, "kappa": 50.0, "xi": 5.0, "small_const": 0.5}
    accsgd = optim_core.get("accsgd")([p], **constants)
    qhm = optim_core.get("qhm").from_accsgd([q], **constants)
    torch.testing.assert_close(path(accsgd, p), path(qhm, q))


def test_triple_momentum_is_the_fastest_robust_one() -> None:
    group = optim_core.get("qhm").from_robust_momentum([start()], smoothness=2.0, kappa=4.0).param_groups[0]
    assert group["momentum"] == pytest.approx(4 * 0.5**3 / 3)
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("constructor", "constants", "text"),
    [
        ("from_pid", {"k_p": 0.1, "k_i": 0.1, "k_d": 0.1}, "k_p must be < 0"),
        ("from_synthesized_nesterov", {"alpha": 0.1, "beta1": 1.0, "beta2": 0.1}, "beta1=1 is out of range"),
        ("from_robust_momentum", {"smoothness": 1.0, "kappa": 1.0}, "kappa > 1"),
        ("from_robust_momentum", {"smoothness": 1.0, "kappa": 4.0, "rho": 0.9}, r"rho=0.9 is out of range.*<= 0.75"),
        ("from_two_state_optimizer", {"h": 0.5, "k": 0.1, "l": 1, "m": 0.1, "q": 1, "z": -1}, "eigenvalues 1 and"),
    ],
)
def test_what_qhm_does_not_contain(constructor: str, constants: dict[str, float], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        getattr(optim_core.get("qhm"), constructor)([start()], **constants)


# options -------------------------------------------------------------------------------------------------------
def test_accsgd_refuses_an_advantage_that_the_paper_rules_out() -> None:
    with pytest.raises(InvalidOption, match=r"xi=10 is above sqrt\(kappa\)=8: take a smaller xi, or kappa=100"):
        optim_core.get("accsgd")([start()], kappa=64.0)


def test_pnm_s_betas_have_ranges_of_their_own() -> None:
    optim_core.get("pnm")([start()], betas=(0.9, 3.0))
    for beta1 in (1.0, -0.1):
        with pytest.raises(InvalidOption, match=r"PNM: betas=.*the first must be >= 0 and < 1"):
            optim_core.get("pnm")([start()], betas=(beta1, 1.0))


@pytest.mark.parametrize(
    ("name", "options"), [("accsgd", {}), ("alig", {"momentum": 0.9, "max_lr": 0.1}), ("asgd", {}), ("srmm", {})]
)
def test_lr_zero_freezes_what_had_moved(name: str, options: dict[str, float]) -> None:
    p = start()
    optimizer = optim_core.get(name)([p], **options)
    path(optimizer, p, 3)
    before = p.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    path(optimizer, p, 2)
    assert torch.equal(p, before)


def test_gravity_draws_in_its_constructor_and_reproducibly() -> None:
    velocities = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        p = Parameter(torch.ones(400, dtype=torch.float64))
        optimizer = optim_core.get("gravity")([p], lr=0.5, alpha=0.05)
        velocities.append(optimizer.state[p]["v"])
    assert torch.equal(velocities[0], velocities[1])
    assert not torch.equal(velocities[0], velocities[2])
    assert velocities[0].std().item() == pytest.approx(0.1, rel=0.2)


def test_gravity_leaves_torch_s_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    optim_core.get("gravity")([start()])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("options", [{"integral": 3.0}, {"derivative": 1.0}, {"dampening": 0.5}])
def test_pid_without_momentum_refuses_gains(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(InvalidOption, match=f"PID: {name}=.* has no effect with momentum=0.*: add momentum=0.9, say"):
        optim_core.get("pid")([start()], **options)
    optimizer = optim_core.get("pid")([start()], momentum=0.9, **options)
    optimizer.add_param_group({"params": [start()], "momentum": 0.0})


def srmm(**options: Any) -> Any:
    return optim_core.get("srmm")([start()], **options)


@pytest.mark.parametrize(
    ("options", "lr"),
    [
        ({}, 1 / 10.001),
        ({"ilr": 4.0}, 0.25),
        ({"pr": 3.999}, 0.25),
        ({"ilr": 3.0, "pr": 1.0}, 0.25),
        ({"lr": 0.5}, 0.5),
        ({"lr": 0.5, "ilr": 4.0}, 0.5),
        ({"lr": 0.25, "ilr": 3.0, "pr": 1.0}, 0.25),
        ({"lr": 0.0}, 0.0),
    ],
)
def test_srmm_settles_its_step_size(options: dict[str, float], lr: float) -> None:
    optimizer = srmm(**options)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
    optimizer.add_param_group({"params": [start()], "beta": 0.7})
    assert optimizer.param_groups[1]["lr"] == pytest.approx(lr)
    optimizer.add_param_group({"params": [start()], "lr": 0.125})
    assert optimizer.param_groups[2]["lr"] == 0.125
    optimizer.add_param_group({"params": [start()], "ilr": 1.0, "pr": 7.0})
    assert optimizer.param_groups[3]["lr"] == 0.125
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [start()]})
    assert optimizer.param_groups[4]["lr"] == pytest.approx(lr)


def test_srmm_refuses_contradictions() -> None:
    with pytest.raises(InvalidOption, match=r"SRMM: lr=0.1 is not 1/\(ilr \+ pr\)=0.5: leave out one of lr and pr"):
        srmm(lr=0.1, ilr=1.0, pr=1.0)


def test_srmm_lr_is_the_proximal_weight() -> None:
    p, q = start(), start()
    first = optim_core.get("srmm")([p], ilr=2.0, pr=2.0)
    second = optim_core.get("srmm")([q], ilr=2.0, lr=0.25)
    torch.testing.assert_close(path(first, p), path(second, q))


def test_lars_scales_what_it_says() -> None:
    weights = torch.tensor([3.0, -4.0], dtype=torch.float64)

    def moved(**options: Any) -> float:
        p = Parameter(weights.clone())
        optim_core.get("lars")([p], lr=0.5, **options).minimize(lambda: 0.5 * (2 * p * p).sum())
        return float((weights - p.detach()).norm())

    assert moved() == pytest.approx(0.5 * 10)  # SGD
    assert moved(always_adapt=True) == pytest.approx(0.5 * 1e-3 * 5)
    assert moved(always_adapt=True, trust_coefficient=4.0) == pytest.approx(0.5 * 20)
    assert moved(always_adapt=True, trust_coefficient=4.0, trust_clip=True) == pytest.approx(0.5 * 10)


def test_lars_clips_at_lr_zero() -> None:
    p = start()
    optimizer = optim_core.get("lars")([p], lr=0.0, momentum=0.9, weight_decay=0.1, trust_clip=True)
    assert torch.equal(path(optimizer, p, 2)[-1], start())
    optimizer.param_groups[0]["lr"] = 0.1
    assert path(optimizer, p, 2)[-1].isfinite().all()


@pytest.mark.parametrize("name", ["lars", "sgdp"])
def test_nesterov_needs_momentum(name: str) -> None:
    with pytest.raises(InvalidOption, match=r"nesterov=True needs momentum > 0.*add momentum=0.9, say"):
        optim_core.get(name)([start()], nesterov=True)


def test_sgdp_projects_the_step_and_not_the_buffer() -> None:
    w = Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64))
    optimizer = optim_core.get("sgdp")([w], lr=0.1, momentum=0.9, delta=10.0)  # every tensor passes
    before = w.detach().clone()
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert torch.equal(optimizer.state[w]["momentum_buffer"], torch.ones_like(w))
    assert ((w.detach() - before) * before).sum(1).abs().max() < 1e-6  # at right angles to each row


# ALI-G: the loss is a part of the step ------------------------------------------------------------------------
def alig(p: Parameter, **options: Any) -> Any:
    return optim_core.get("alig")([p], **options)


def full(optimizer: Any, p: Parameter) -> Callable[[], Tensor]:
    """A closure for step(), which keeps the gradients' memory."""

    def evaluated() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        value = loss(p)
        value.backward()
        return value

    return evaluated


def test_alig_asks_for_the_loss() -> None:
    p = start()
    optimizer = alig(p)
    loss(p).backward()
    remedy = r"use optimizer\.minimize\(closure\), or step\(closure\) with a closure that returns the loss"
    with pytest.raises(LossMissing, match=rf"AliG needs the value of the loss.* was called without it: {remedy}"):
        optimizer.step()
    with pytest.raises(LossMissing, match=rf"got None from its closure: {remedy}"):
        optimizer.step(lambda: None)
    optimizer.minimize(lambda: loss(p))
    before = p.detach().clone()
    with pytest.raises(LossMissing):  # each loss serves one step
        optimizer.step()
    assert torch.equal(p, before)


def test_alig_takes_the_loss_in_all_ways() -> None:
    p, q, r = start(), start(), start()
    first, second, third = alig(p, momentum=0.5, max_lr=0.3), alig(q, momentum=0.5, max_lr=0.3), alig(r, momentum=0.5)
    third.param_groups[0].update(max_lr=0.3, lr=0.3)
    for _ in range(5):
        value = first.minimize(lambda: loss(p))
        assert torch.equal(second.step(full(second, q)), value)
        third.zero_grad()
        value = loss(r)
        value.backward()
        assert third.step(value.item) == value.item()
        assert torch.equal(p, q)
        assert torch.equal(p, r)


@pytest.mark.parametrize(
    ("options", "lr", "max_lr"),
    [
        ({}, 1.0, None),
        ({"max_lr": 0.1}, 0.1, 0.1),
        ({"lr": 0.1}, 0.1, 0.1),
        ({"lr": 0.05, "max_lr": 0.1}, 0.05, 0.1),
    ],
)
def test_alig_s_lr_is_its_bound(options: dict[str, float], lr: float, max_lr: float | None) -> None:
    optimizer = alig(start(), **options)
    optimizer.add_param_group({"params": [start()], "momentum": 0.5})
    optimizer.add_param_group({"params": [start()], "max_lr": 0.7})
    assert [(g["lr"], g["max_lr"]) for g in optimizer.param_groups] == [(lr, max_lr), (lr, max_lr), (0.7, 0.7)]


def test_alig_does_not_ascend() -> None:
    for options, offset in (({}, -100.0), ({"maximize": True}, 100.0)):
        p = start()
        alig(p, **options).minimize(lambda p=p, offset=offset: loss(p) + offset)
        assert torch.equal(p, start())
    p, q = start(), start()
    alig(p, max_lr=0.1).minimize(lambda: loss(p))
    alig(q, max_lr=0.1, maximize=True).minimize(lambda: -loss(q))
    assert torch.equal(p, q)


def test_alig_stays_in_its_ball() -> None:
    p, q = (Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64)) for _ in range(2))
    optimizer = optim_core.get("alig")([p, q], max_norm=1.0)
    assert torch.stack([p, q]).norm().item() == pytest.approx(1.0)
    for _ in range(3):
        optimizer.minimize(lambda: (p - 5).square().sum() + (q + 5).square().sum())
        assert torch.stack([p, q]).norm().item() <= 1 + 1e-12


def test_alig_with_a_projection_of_one_s_own() -> None:
    p = start()
    optimizer = alig(p)
    optimizer.register_step_post_hook(lambda *_: p.data.clamp_(-1, 1))
    optimizer.minimize(lambda: (p - 100).square().sum())
    assert p.abs().max() == 1


def test_alig_inside_wrappers() -> None:
    p = start()
    optimizer = optim_core.create_optimizer([p], "alig", lr=0.3, use_lookahead=True, wrappers=["sam"])
    assert float(path(optimizer, p, 12)[-1].norm()) < float(start().detach().norm())
    with pytest.raises(LossMissing, match=r"optimizer\.minimize\(closure\)"):
        optimizer.base.base.step()


# adaptive gradient descent: two gradients a step ---------------------------------------------------------------
def asgd(p: Parameter, **options: Any) -> Any:
    return optim_core.get("asgd")([p], **options)


def test_asgd_is_not_torch_s() -> None:
    assert optim_core.get("adsgd") is optim_core.get("asgd") is not optim_core.get("torch:asgd")
    assert optim_core.get("torch:asgd") is torch.optim.ASGD


def test_asgd_asks_for_a_closure() -> None:
    p = start()
    optimizer = asgd(p)
    loss(p).backward()
    with pytest.raises(ClosureError, match=r"ASGD evaluates the loss twice.*optimizer\.minimize.*consecutive=True"):
        optimizer.step()
    assert torch.equal(p, start())
    asgd(p, consecutive=True).step()
    assert not torch.equal(p, start())


def test_asgd_in_both_ways() -> None:
    p, q = start(), start()
    first, second = asgd(p), asgd(q)
    for _ in range(5):
        value = first.minimize(lambda: loss(p))
        assert torch.equal(second.step(full(second, q)), value)
        assert torch.equal(p, q)


def test_asgd_consecutive_is_the_same_where_nothing_is_random() -> None:
    p, q = start(), start()
    torch.testing.assert_close(path(asgd(p), p), path(asgd(q, consecutive=True), q))


def test_asgd_s_evaluations_see_the_same_random_numbers() -> None:
    p = start()
    optimizer = asgd(p)
    draws: list[float] = []

    def noisy() -> Tensor:
        draws.append(torch.rand(()).item())
        return draws[-1] * loss(p)

    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    for _ in range(3):
        optimizer.minimize(noisy)
    assert draws == pytest.approx([expected[0], expected[1], expected[1], expected[2], expected[2]])


def test_asgd_puts_weights_back_when_an_evaluation_fails() -> None:
    p = start()
    optimizer = asgd(p)
    path(optimizer, p, 2)
    before = p.detach().clone()

    def failing() -> Tensor:
        raise KeyError

    with pytest.raises(KeyError):
        optimizer.minimize(failing)
    assert torch.equal(p, before)
    assert path(optimizer, p, 1)[0].isfinite().all()


def test_asgd_s_step_size_scales_with_lr() -> None:
    p, q = start(), start()
    optimizer = optim_core.get("asgd")([{"params": [p]}, {"params": [q], "lr": 0.05}], lr=0.1)
    before = [p.detach().clone(), q.detach().clone()]
    optimizer.minimize(lambda: loss(p) + loss(q))
    torch.testing.assert_close(p.detach() - before[0], 2 * (q.detach() - before[1]))
    optimizer.param_groups[0]["lr"] = 0.0
    before = [p.detach().clone(), q.detach().clone()]
    optimizer.minimize(lambda: loss(p) + loss(q))
    assert torch.equal(p, before[0])
    assert not torch.equal(q, before[1])


def test_asgd_inside_wrappers() -> None:
    p = start()
    optimizer = optim_core.create_optimizer([p], "asgd", use_gc=True, use_lookahead=True, wrappers=["sam"])
    assert float(path(optimizer, p, 12)[-1].norm()) < float(start().detach().norm())
