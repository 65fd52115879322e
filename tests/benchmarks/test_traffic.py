"""How many bytes a step has to move."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import optim_core
from benchmarks import (
    measure,
    traffic,
)
from benchmarks.shapes import ShapeSet
from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, mean, norm, square, stacked, total

TINY = ShapeSet("tiny", layers=1, width=4)


class Plain(RuleOptimizer):
    """One state."""

    lr: float = hyper(0.1, "step size", ge=0)
    heavy: bool = hyper(default=True, doc="whether there is a state")

    momentum_buffer = state("average of g", when="heavy")

    @staticmethod
    def rule(p: Value, g: Value, momentum_buffer: Value | None, *, lr: Value) -> tuple[Value | None, ...]:
        if momentum_buffer is None:
            return p - lr * g, None
        new = momentum_buffer + g
        return p - lr * new, new


class Anchored(RuleOptimizer):
    """A state that is only read, one of every fourth element, one number per row and one per tensor."""

    lr: float = hyper(0.1, "step size", ge=0)

    p0 = state("where p began", start="p")
    row = state("a number a row", level="row")
    tensor = state("a number per tensor", level="tensor")
    d = state("a number for the model", level="whole")

    @staticmethod
    def rule(p: Value, g: Value, p0: Value, row: Value, tensor: Value, d: Value, *, lr: Value) -> tuple[Value, ...]:
        row = row + mean(square(g), "row")
        tensor = tensor + norm(g)
        return p - lr * (p - p0) * row / tensor, p0, row, tensor, d + total(g)


class Stacked(RuleOptimizer):
    """A rule on matrices."""

    lr: float = hyper(0.1, "step size", ge=0)

    momentum_buffer = state("average of g")

    @staticmethod
    def rule(p: Any, g: Any, momentum_buffer: Any, *, lr: float) -> Any:
        return p - lr * _halved(g), momentum_buffer + g


@stacked("element")
def _halved(g: Any) -> Any:
    return g / 2


def test_bytes_of_elementwise_methods() -> None:
    params = TINY.parameters()  # 16 + 4 numbers of 4 bytes
    assert traffic.bytes_moved(Plain(params, heavy=False), TINY.shapes) == 3 * 20 * 4
    assert traffic.bytes_moved(Plain(params), TINY.shapes) == 5 * 20 * 4
    assert traffic.work_of(Plain(params), TINY.shapes) == "elementwise"


def test_bytes_follow_what_the_graph_touches() -> None:
    optimizer = Anchored(TINY.parameters())
    elements, rows, tensors = 4 * 20, 2 * (4 + 4), 2 * 2  # p twice, g and p0 once each
    assert traffic.bytes_moved(optimizer, TINY.shapes) == 4 * (elements + rows + tensors)
    assert traffic.work_of(optimizer, TINY.shapes) == "reductions"


def test_bytes_of_matrix_methods_follow_their_states() -> None:
    optimizer = Stacked(TINY.parameters())
    assert traffic.bytes_moved(optimizer, TINY.shapes) == 5 * 20 * 4
    assert traffic.work_of(optimizer, TINY.shapes) == "matrices"


def test_other_classes_are_not_judged() -> None:
    theirs = torch.optim.SGD(TINY.parameters())
    assert traffic.bytes_moved(theirs, TINY.shapes) == 0
    assert traffic.work_of(theirs, TINY.shapes) == "matrices"


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
def test_every_registered_optimizer_is_described() -> None:
    for spec in optim_core.find(kind="optimizer"):
        method = measure.described(spec, [TINY])
        least = 3 * TINY.numel * traffic.FLOAT32  # nothing moves a weight without reading and writing it
        assert method.bytes_moved["tiny"] >= least, spec.name
