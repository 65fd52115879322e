"""QHM under other names: each method is simulated as its paper has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from support.one_parameter import gradient, path, start
from torch import Tensor

import optim_core
from optim_core.errors import InvalidOption


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
