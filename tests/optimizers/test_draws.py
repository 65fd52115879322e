"""Random draws are an optimizer's own: of no likeness to the user's or another optimizer's, and the same every time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.methods import open_ended
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.optimizers import GlobalStreams, RuleOptimizer, hashed_seed

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

SIZE = 2000
CPU = torch.device("cpu")


def made(name: str = "sgd", **options: Any) -> Any:
    """A method, on parameters of one size."""
    return optim_core.get(name)([Parameter(torch.zeros(SIZE, dtype=torch.float32, device="cpu"))], **options)


def drawn(optimizer: RuleOptimizer) -> Tensor:
    """Normal numbers of an optimizer's stream."""
    return torch.randn(SIZE, generator=optimizer.generator(CPU), dtype=torch.float32, device="cpu")


def likeness(a: Tensor, b: Tensor) -> float:
    return abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1]))


def velocity(optimizer: Any) -> Tensor:
    """What Gravity draws in its constructor."""
    (state,) = (optimizer.state[p] for p in optimizer.param_groups[0]["params"])
    return state["v"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", [0, 3])
def test_streams_have_no_likeness_to_torch_s_or_each_other(seed: int) -> None:
    torch.manual_seed(seed)
    global_stream = torch.randn(SIZE, dtype=torch.float32)
    streams = [drawn(made()), drawn(made()), drawn(made("adamw")), velocity(made("gravity")), velocity(made("gravity"))]
    streams.append(global_stream)
    for k, a in enumerate(streams):
        assert all(likeness(a, b) < 0.1 for b in streams[:k]), k


def test_the_same_program_draws_the_same() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        runs.append([drawn(made()), drawn(made()), velocity(made("gravity"))])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    torch.manual_seed(6)
    assert likeness(drawn(made()), runs[0][0]) < 0.1


def test_a_resumed_stream_goes_on() -> None:
    optimizer, other = made(), made()
    drawn(optimizer)
    drawn(other)
    other.load_state_dict(optimizer.state_dict())
    assert torch.equal(drawn(optimizer), drawn(other))


def noisy_step(name: str, **options: Any) -> list[Tensor]:
    """Where steps with draws lead."""
    torch.manual_seed(0)
    start = torch.linspace(-1, 1, 24, dtype=torch.float32, device="cpu").reshape(4, 6)
    p = Parameter(start.to(torch.bfloat16) if options else start)
    optimizer: Any = optim_core.get(name)([p], **options)
    for _ in range(3):
        optimizer.minimize(lambda: (p**4).sum() + (p * p.flip(0)).sum())
    return [p.detach()]


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in open_ended()] + [("adamw", {"rounding": "stochastic", "lr": 0.01})],
    ids=str,
)
def test_defaults_of_torch_change_no_draw_and_no_draw_is_torch_s(name: str, options: dict[str, Any]) -> None:
    if not issubclass(optim_core.get(name), RuleOptimizer):
        pytest.skip("torch's own")
    wanted = noisy_step(name, **options)
    torch.manual_seed(0)
    stream = torch.get_rng_state()
    for dtype in (torch.float64, torch.bfloat16):
        try:
            torch.set_default_dtype(dtype)
            assert torch.equal(noisy_step(name, **options)[0], wanted[0]), dtype
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize(("name", "options"), [("gravity", {}), ("kron", {}), ("adamw", {"rounding": "stochastic"})])
def test_the_default_device_changes_no_draw(name: str, options: dict[str, Any]) -> None:
    wanted = noisy_step(name, **options)
    with torch.device("meta"):
        found = noisy_step(name, **options)
    assert torch.equal(found[0], wanted[0])


def test_global_streams_again() -> None:
    streams = GlobalStreams([torch.zeros(1)])
    first = torch.rand(3)
    with streams.again():
        assert torch.equal(torch.rand(3), first)
        torch.rand(5)
    after = torch.rand(3)
    with streams.again():
        assert torch.equal(torch.cat([torch.rand(3), torch.rand(3)]), torch.cat([first, after]))


def test_hashed_seeds_go_by_every_fact() -> None:
    assert len({hashed_seed(*facts) for facts in [("a", 0, 1), ("a", 1, 0), ("b", 0, 1), ("a", 0), ("a", 0, 1)]}) == 4
