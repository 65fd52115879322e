"""Rules: tracing, guards, declarations that follow from options, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import RuleError
from optim_core.methods.declarations import decoupled, extra, l2
from optim_core.methods.states import tensors_of
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.stacked import stacked
from optim_core.rules.trace import Trace
from optim_core.rules.transform import Transform
from optim_core.rules.values import Level, Value
from optim_core.rules.vocabulary import (
    amax,
    lerp,
    maximum,
    norm,
    sample,
    square,
    total,
)


def test_totals_are_over_all_groups_and_totals_of_totals_work() -> None:
    class Centred(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        seen = state("largest total so far", level="whole")

        @staticmethod
        def rule(p: Value, g: Value, seen: Value, *, lr: Value) -> tuple[Value, ...]:
            whole = total(g)
            spread = total(square(g - whole))
            return p - lr * spread, maximum(seen, whole)

    params = [Parameter(torch.zeros(2, dtype=torch.float64)), Parameter(torch.zeros(3, dtype=torch.float64))]
    optimizer = Centred([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
    optimizer.minimize(lambda: params[0].sum() + 2 * params[1].sum())
    spread = 2 * (1 - 8) ** 2 + 3 * (2 - 8) ** 2
    assert params[0].tolist() == [-spread] * 2
    assert params[1].tolist() == [-spread / 2] * 3
    assert float(optimizer.whole["seen"]) == 8


def test_a_branch_on_a_host_number_is_taken_anew() -> None:
    class Switch(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)

        @staticmethod
        def rule(p: Value, g: Value, *, lr: Value, step: Value) -> Value:
            return p - lr * g if step < 3 else p + lr * g

    w = Parameter(torch.zeros(1))
    optimizer = Switch([w])
    path = []
    for _ in range(4):
        optimizer.minimize(w.sum)
        path.append(w.item())
    assert path == [-1.0, -2.0, -1.0, 0.0]


@pytest.mark.parametrize(
    ("scale", "shape", "moved"), [("element", (2, 2), 1.0), ("row", (2, 1), 0.75), ("tensor", (), 0.5625)]
)
def test_level_and_number_of_a_state_may_follow_from_options(scale: str, shape: Any, moved: float) -> None:
    class Delayed(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        delay: int = hyper(2, "steps that a gradient waits", ge=1)
        scale: str = hyper("tensor", "what has a scale of its own", choices=("element", "row", "tensor"))

        waiting = state("gradients of the last steps, the oldest first", copies="delay")
        largest = state("largest |g| so far", level=lambda group: group["scale"])

        @staticmethod
        def rule(
            p: Value, g: Value, waiting: list[Value], largest: Value, *, lr: Value, scale: str
        ) -> tuple[Value | list[Value], ...]:
            now = abs(g) if scale == "element" else amax(abs(g), over="row" if scale == "row" else "tensor")
            largest = maximum(largest, now)
            return p - lr * waiting[0] / largest, [*waiting[1:], g], largest

    w, g = Parameter(torch.zeros(2, 2)), torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    optimizer = Delayed([w], delay=3, scale=scale)
    for _ in range(4):
        optimizer.minimize(lambda: torch.sum(w * g))
    assert w.mean().item() == -moved
    assert len(tensors_of(optimizer.state[w], "waiting")) == 3
    assert optimizer.state[w]["largest"].shape == shape
    assert optimizer.state_bytes() == 3 * w.nbytes + optimizer.state[w]["largest"].nbytes


def test_a_graph_lists_calls_of_functions_of_stacks() -> None:
    @stacked("element", "own")
    def whiten(g: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
        return g, Q

    trace = Trace({"lr": 0.1}, (2, 2))
    p, g = (trace.input(name, Level.ELEMENT) for name in "pg")
    u, Q = whiten(g, trace.input("Q", Level.OWN))
    graph = Graph({"p": p - trace.input("lr", Level.HOST) * u}, {}, trace, {"p": Extent(Level.ELEMENT)}, {"Q": Q})
    assert str(graph).splitlines() == [
        "SHAPE    numbers_each(shape) == 1",
        "CALL     call0.0, call0.1 = whiten(g, Q)",
        "ELEMENT  v6 = mul(lr, call0.0)",
        "ELEMENT  v7 = sub(p, v6)",
        "WRITE    p <- v7",
        "WRITE    Q <- call0.1",
    ]


def symbols() -> tuple[Value, Value]:
    trace = Trace({"lr": 0.1})
    return trace.input("p", Level.ELEMENT), trace.input("lr", Level.HOST)


def test_misuse_of_symbols_says_what_to_do() -> None:
    p, lr = symbols()
    with pytest.raises(RuleError, match=r"use where\(condition, a, b\)"):
        bool(p > 0)
    with pytest.raises(RuleError, match="one value, not a sequence"):
        list(p)
    with pytest.raises(RuleError, match="another trace"):
        p + symbols()[0]
    with pytest.raises(RuleError, match="nothing left to reduce"):
        norm(norm(p))
    with pytest.raises(RuleError, match="cannot meet"):
        sample(p, 2) + p
    assert bool(lr > 0)


@pytest.mark.parametrize("declared", [l2(0.1), decoupled(0.1)], ids=["l2", "decoupled"])
@pytest.mark.parametrize("inherits", [False, True])
def test_a_rule_that_decays_what_the_core_decays_too(declared: Any, inherits: bool) -> None:
    def rule(p: Value, g: Value, *, lr: Value, weight_decay: Value) -> Value:
        return p - lr * (g + weight_decay * p)

    options = {"lr": hyper(0.1, "step size", ge=0), "weight_decay": declared}
    types = {"__annotations__": {"lr": float, "weight_decay": float}}
    if inherits:
        once = type("Once", (RuleOptimizer,), options | types | {"rule": staticmethod(lambda p, g, *, lr: p - lr * g)})
        twice = type("Twice", (once,), {"rule": staticmethod(rule)})
    else:
        twice = type("Twice", (RuleOptimizer,), options | types | {"rule": staticmethod(rule)})
    w = Parameter(torch.ones(1))
    with pytest.raises(RuleError, match=r"Twice: p would decay twice: .*or declare it with hyper\(\.\.\.\)"):
        twice([w]).minimize(lambda: 0 * w.sum())
    assert w.item() == 1
    own = hyper(0.1, "decay, added to g", ge=0)
    remedied = type("Remedied", (RuleOptimizer,), options | types | {"weight_decay": own, "rule": staticmethod(rule)})
    remedied([w]).minimize(lambda: 0 * w.sum())
    assert w.item() == pytest.approx(0.99)


def test_a_decay_of_another_name() -> None:
    with pytest.raises(RuleError, match=r"wd = decoupled\(\.\.\.\) has no effect: call it weight_decay"):
        type("Bad", (RuleOptimizer,), {"wd": decoupled(0.1), "__annotations__": {"wd": float}})


def test_a_rule_that_does_not_fit_its_declarations() -> None:
    with pytest.raises(RuleError, match="neither a state nor an extra"):
        type("Bad", (RuleOptimizer,), {"rule": staticmethod(lambda p, g, m: (p, m))})
    with pytest.raises(RuleError, match="neither an option nor one of"):

        class Worse(RuleOptimizer):
            @staticmethod
            def rule(p: Value, g: Value, *, moment: Value) -> Value:
                return p

    class Short(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        m = state("average")

        @staticmethod
        def rule(p: Value, g: Value, m: Value, *, lr: Value) -> Value:
            return p - lr * m

    w = Parameter(torch.ones(2))
    with pytest.raises(RuleError, match="returns 1 values instead of p and 1 states"):
        Short([w]).minimize(w.sum)
    assert w.tolist() == [1.0, 1.0]


class Keeping:
    """A keeper by itself."""

    def __init__(self, kept: str, factor: float) -> None:
        self.kept = kept
        self.factor = factor

    def numbers(self) -> Mapping[str, float]:
        return {"factor": self.factor}


@dataclass(frozen=True)
class Multiple(Transform):
    keeps = ("multiple",)
    numbers = ("factor",)

    def keep(self, new_p: Value, old: Sequence[Value], options: Mapping[str, Any]) -> Sequence[Value]:
        return [options["factor"] * new_p]


def test_equal_transforms_have_tensors_numbers_and_exclusions_of_their_own() -> None:
    class Descent(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)

        @staticmethod
        def rule(p: Value, g: Value, *, lr: Value) -> Value:
            return p - lr * g

    params = [Parameter(torch.tensor([5.0])), Parameter(torch.tensor([7.0]))]
    optimizer = Descent(params)
    keepers = [Keeping("a_", 2.0), Keeping("b_", 3.0)]
    for keeper, excluded in zip(keepers, (set(), {params[1]}), strict=True):
        optimizer.add_transform(Multiple(), keeper, excluded=excluded)
    for _ in range(2):
        optimizer.minimize(lambda: params[0].sum() + params[1].sum())
    kept = [{name: x.item() for name, x in optimizer.state[p].items() if name != "step"} for p in params]
    assert kept == [{"a_multiple": 6.0, "b_multiple": 9.0}, {"a_multiple": 10.0}]
    with pytest.raises(RuleError, match="Multiple needs a keeper for multiple, factor"):
        optimizer.add_transform(Multiple())


def test_a_transform_knows_what_it_overrides() -> None:
    assert Multiple().overrides("update", "keep")
    assert not Multiple().overrides("update", "denominator")


@pytest.mark.parametrize("foreach", [True, False])
def test_functions_of_stacks_take_extras_too(foreach: bool) -> None:
    class Pushed(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        m = state("sum of what it was pushed by")
        push = extra("added to the gradient in every other step")

        def extras(self, params: Sequence[Tensor]) -> dict[str, list[Tensor]]:
            return {"push": [torch.full_like(p, p.numel()) for p in params]} if self.whole_step % 2 else {}

        @staticmethod
        def rule(p: Value, g: Value, push: Value | None, m: Value, *, lr: Value) -> tuple[Value, Value]:
            return (p - lr * g, m) if push is None else (p - lr * added(g, push), m + push)

    @stacked("element")
    def added(g: Tensor, push: Tensor) -> Tensor:
        assert len(g) == (1 if foreach is False or g.ndim == 3 else 2)
        return g + push

    params = [Parameter(torch.zeros(shape)) for shape in ((2,), (2,), (3, 1))]
    optimizer = Pushed(params, foreach=foreach)
    for _ in range(2):
        optimizer.minimize(lambda: torch.stack([p.sum() for p in params]).sum())
    assert [p.flatten().tolist() for p in params] == [[-4.0] * 2, [-4.0] * 2, [-5.0] * 3]
    assert [optimizer.state[p]["m"].flatten().tolist() for p in params] == [[2.0] * 2, [2.0] * 2, [3.0] * 3]


def test_low_precision_computes_in_float32() -> None:
    w = Parameter(torch.ones(4, dtype=torch.bfloat16))

    class Momentum(RuleOptimizer):
        lr: float = hyper(1e-3, "step size", ge=0)
        m = state("average")

        @staticmethod
        def rule(p: Value, g: Value, m: Value, *, lr: Value) -> tuple[Value, ...]:
            m = lerp(g, m, 0.9)
            return p - lr * m, m

    optimizer = Momentum([w])
    optimizer.minimize(lambda: w.float().sum())
    assert optimizer.state[w]["m"].dtype is torch.float32
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    assert optimizer.state[w]["m"].dtype is torch.float32
