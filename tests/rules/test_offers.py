"""The words by which a rule names its denominator, its second moment and its gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from optim_core.rules import (
    Denominator,
    Level,
    Offers,
    Trace,
    Transform,
    Value,
    denominator,
    gain,
    lerp,
    root,
    second_moment,
    softplus,
    sqrt,
    square,
    total,
)
from optim_core.rules.arithmetic import HOST_OPERATIONS
from optim_core.rules.compose import Buffer, CompositionSettings, compose
from optim_core.rules.graph import Graph


def plain(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, eps: Value, step: Value) -> tuple[Value, ...]:
    exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
    return p - lr / 2 * g / (sqrt(exp_avg_sq) / sqrt(1 - 0.9**step) + eps), exp_avg_sq


def naming(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, eps: Value, step: Value) -> tuple[Value, ...]:
    exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
    v = second_moment(exp_avg_sq, 1 - 0.9**step)
    return p - gain(lr / 2, 0.5) * g / root(v, eps, 1 - 0.9**step), exp_avg_sq


def outside(p: Value, g: Value, exp_avg_sq: Value, *, lr: Value, eps: Value, step: Value) -> tuple[Value, ...]:
    exp_avg_sq = lerp(square(g), exp_avg_sq, 0.9)
    c = 1 - 0.9**step
    return p - lr / 2 * sqrt(c) * g / root(exp_avg_sq, eps, c, outside=True), exp_avg_sq


def traced(rule: Any, *transforms: Transform) -> Graph:
    trace = Trace({"lr": 0.1, "eps": 1e-8, "step": 3.0}, (2, 2))
    numbers = {name: trace.input(name, Level.HOST) for name in ("lr", "eps", "step")}
    settings = CompositionSettings(None, fixed_decay=False, maximize=False, transforms=transforms)
    return compose(rule, trace, [Buffer("exp_avg_sq", Level.ELEMENT, True)], numbers, list(numbers), settings)


def test_words_cost_nothing_where_nobody_asks() -> None:
    with_words, without = traced(naming), traced(plain)
    assert [repr(x) for x in with_words.outputs.values()] == [repr(x) for x in without.outputs.values()]
    assert sorted(map(repr, with_words.values)) == sorted(map(repr, without.values))
    assert with_words.trace.offers is not None
    assert with_words.trace.offers.gain == 0.5


def test_a_rule_may_be_tried_by_hand() -> None:
    numbers: Any = {"p": 1.0, "g": 0.5, "exp_avg_sq": 0.25, "lr": 0.1, "eps": 1e-8, "step": 3.0}
    assert naming(**numbers) == plain(**numbers)
    assert denominator(numbers["g"]) == 0.5


@dataclass(frozen=True)
class Looking(Transform):
    """Puts the numbers that it is shown in the place of a denominator."""

    what: str

    def denominator(self, d: Denominator) -> Value:
        found: Value = d.corrected(d.bare) if self.what == "bare" else d.value
        return found


@pytest.mark.parametrize("what", ["bare", "value"])
@pytest.mark.parametrize("rule", [naming, outside])
def test_a_transform_sees_the_same_wherever_the_rule_corrects(rule: Any, what: str) -> None:
    """bare, corrected, differs from value by eps only; put in its place it leaves the rule as it was."""
    graph = traced(rule, Looking(what))
    assert graph.trace.offers is not None
    ((before, after),) = graph.trace.offers.denominators
    numbers = {"exp_avg_sq": 0.25, "g": 0.5, "lr": 0.1, "eps": 1e-8, "step": 3.0}

    def number(x: Value) -> float:
        if x.op in ("input", "constant"):
            return numbers[x.name] if x.op == "input" else x.number
        return HOST_OPERATIONS[x.op](*map(number, x.args))

    assert number(after) == pytest.approx(number(before), rel=1e-7)


def test_softplus_is_torch_s() -> None:
    for x in (0.0, 1e-3, 0.1, 0.39, 0.41, 3.0, 1e300):
        wanted = float(torch.nn.functional.softplus(torch.tensor(x, dtype=torch.float64), beta=50))
        assert softplus(x, 50.0) == pytest.approx(wanted, rel=1e-12)


def test_gains_multiply_and_squares_count_elements() -> None:
    trace = Trace({"lr": 0.1}, (3, 4))
    p, lr = trace.input("p", Level.ELEMENT), trace.input("lr", Level.HOST)
    assert gain(lr, 2.0) is lr  # outside of a composition nobody listens
    offers = trace.offers = Offers()
    gain(gain(lr, 2.0), 3.0)
    assert offers.gain == 6.0
    assert [repr(x) for x in offers.squares(p)] == ["mul(0.0, size(p))"] * 2
    for level, wanted in ((Level.ELEMENT, "v0"), (Level.ROW, "mul(v1, size(p))"), (Level.TENSOR, "mul(v2, size(p))")):
        second_moment(trace.input(f"v{int(level)}", level))
        assert repr(offers.squares(p)[0]) == wanted
        total(offers.squares(p)[0])
