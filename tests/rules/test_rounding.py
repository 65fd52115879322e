"""bfloat16 parameters: rounded to the nearest, at random, or with what is cut off kept; by every engine alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.methods import rule_optimizers
from support.requirements import needs_triton
from support.small import CPU_ENGINES, equal, reloaded
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption
from optim_core.rules.arithmetic import uniform

#: Those and Triton's interpreter, where that is at hand.
EVERY_WAY = [*CPU_ENGINES, pytest.param({"engine": "triton"}, marks=needs_triton)]

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


def weights(dtype: torch.dtype = torch.bfloat16) -> list[Parameter]:
    k = torch.arange(24, dtype=torch.float64)
    values = [(0.7 + 0.5 * torch.sin(1.7 * k)).reshape(6, 4), 0.5 * torch.cos(k[:5]), torch.tensor(1.0)]
    # the same values in every type
    return [Parameter(v.to(torch.bfloat16).to(dtype)) for v in values]


def set_gradients(params: list[Parameter], n: int) -> None:
    """Gradients that every type holds exactly."""
    for i, p in enumerate(params):
        k = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
        p.grad = (0.1 + torch.sin(0.3 * k + i + 0.1 * n)).to(torch.bfloat16).to(p.dtype)


def trained(
    name: str, steps: int = 6, dtype: torch.dtype = torch.bfloat16, **options: Any
) -> tuple[Any, list[Parameter]]:
    torch.manual_seed(7)
    params = weights(dtype)
    optimizer = optim_core.get(name)(params, **options)
    for n in range(steps):
        set_gradients(params, n)
        optimizer.step()
    return optimizer, params


@pytest.mark.parametrize("name", rule_optimizers())
@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "kahan"])
def test_engines_agree(name: str, rounding: str) -> None:
    runs = [trained(name, rounding=rounding, **way)[1] for way in CPU_ENGINES]
    for other in runs[1:]:
        for x, y in zip(runs[0], other, strict=True):
            # rounding to float32 may fall to either side of a step of bfloat16
            torch.testing.assert_close(x, y, rtol=2**-7, atol=1e-3)


@pytest.mark.parametrize("name", rule_optimizers())
def test_compensated_weights_follow_float32(name: str) -> None:
    optimizer, params = trained(name, 30, rounding="kahan")
    _, exact = trained(name, 30, torch.float32)
    _, plain = trained(name, 30)

    def error(parts: list[Tensor]) -> float:
        return max(float((x - y).detach().abs().max()) for x, y in zip(parts, exact, strict=True))

    kept = [p.detach().float() + optimizer.state[p].get("compensation", 0.0) for p in params]
    assert error(kept) <= max(5e-2 * error(plain), 2e-4)


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
def test_small_steps_are_not_lost(rounding: str, way: dict[str, Any]) -> None:
    torch.manual_seed(5)
    w = Parameter(torch.ones(1 << 16, dtype=torch.bfloat16))
    optimizer = optim_core.get("sgd")([w], lr=1e-4, rounding=rounding, **way)
    for _ in range(100):  # each step is a fortieth of what bfloat16 resolves at 1
        w.grad = torch.ones_like(w)
        optimizer.step()
    assert float(w.detach().double().mean()) == pytest.approx(0.99, abs=1.5e-4 if rounding == "stochastic" else 4e-3)
    w = Parameter(torch.ones(4, dtype=torch.bfloat16))
    plain = optim_core.get("sgd")([w], lr=1e-4, **way)
    for _ in range(100):
        w.grad = torch.ones_like(w)
        plain.step()
    assert (w == 1).all()


def test_draws_are_even_and_differ_by_place_step_and_parameter() -> None:
    draws = torch.tensor([[uniform(i, seed, salt) for i in range(2000)] for seed in (1, 2) for salt in (0, 1)])
    assert (draws.mean(1) - 0.5).abs().max() < 0.03
    assert (draws.var(1) - 1 / 12).abs().max() < 0.01
    correlation = torch.corrcoef(draws) - torch.eye(4)
    assert correlation.abs().max() < 0.1
    shifted = torch.corrcoef(torch.stack([draws[0, 1:], draws[0, :-1]]))[0, 1]
    assert abs(float(shifted)) < 0.1


def test_only_bfloat16_parameters_keep_anything() -> None:
    params = [Parameter(torch.ones(3, 4, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32)]
    optimizer = optim_core.get("lion")(params, rounding="kahan")
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    first, second = (optimizer.state[p] for p in params)
    assert first["compensation"].dtype is torch.bfloat16
    assert "compensation" not in second
    assert optimizer.state_bytes() == 12 * (4 + 2) + 12 * 4


@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
def test_checkpoints_resume_bit_for_bit(rounding: str) -> None:
    optimizer, params = trained("adamw", 3, rounding=rounding, lr=1e-2)
    saved = reloaded(optimizer.state_dict())
    others = [Parameter(p.detach().clone()) for p in params]
    torch.manual_seed(99)
    resumed = optim_core.get("adamw")(others, rounding=rounding, lr=1e-2)
    resumed.load_state_dict(saved)
    for n in range(3, 9):
        for each, which in ((params, optimizer), (others, resumed)):
            set_gradients(each, n)
            which.step()
        assert equal(params, others)


def test_infinities_and_nan_stay() -> None:
    for way in CPU_ENGINES:
        for rounding in ("nearest", "stochastic", "kahan"):
            w = Parameter(torch.tensor([1.0, 1.0, 1.0, 3e38], dtype=torch.bfloat16))
            optimizer = optim_core.get("sgd")([w], lr=1.0, rounding=rounding, **way)
            w.grad = torch.tensor([float("nan"), float("inf"), 0.0, -3e38], dtype=torch.bfloat16)
            optimizer.step()
            assert w[0].isnan()
            assert w[1] == -torch.inf
            assert w[2] == 1
            assert w[3] == torch.inf


def test_what_cannot_be_had_is_refused() -> None:
    half = Parameter(torch.ones(2, dtype=torch.float16))
    with pytest.raises(InvalidOption, match=r"Lion: rounding='kahan' is for bfloat16.*rounding='nearest'"):
        optim_core.get("lion")([half], rounding="kahan")
    with pytest.raises(InvalidOption, match=r"rounding='up' is not one of 'nearest', 'stochastic', 'kahan'"):
        optim_core.get("lion")([Parameter(torch.ones(2))], rounding="up")
    with pytest.raises(InvalidOption, match="rounding='kahan' is for bfloat16"):
        optim_core.get("lion")([Parameter(torch.ones(2))]).add_param_group({"params": [half], "rounding": "kahan"})
