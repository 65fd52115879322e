"""Rules around rules: as wrappers around anything, and as parts of a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import NotOffered, RuleError, UnknownOption, WrapperConflict
from optim_core.methods import around
from optim_core.rules import Inner, Value
from optim_core.wrapping import RuleWrapper


class Descent(RuleOptimizer):
    """p - lr g."""

    lr: float = hyper(0.1, "step size", ge=0)

    @staticmethod
    def rule(p: Value, g: Value, *, lr: Value) -> Value:
        """The update."""
        return p - lr * g


class Counted(RuleWrapper):
    """Adds a share of the number of steps to the update."""

    share: float = hyper(0.5, "of the count", ge=0)

    count = state("steps", level="tensor")

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, count: Value, *, share: Value) -> tuple[Value, ...]:
        """The update."""
        moved = inner(p, g)
        return moved.start - moved.update - share * count, count + 1


class CountedDescent(Descent):
    """Both."""

    around = (around(Counted, {"share": "counted_share"}),)


def trained(build: Callable[[Any], Any], steps: int = 3) -> tuple[list[float], Any]:
    """Weights after some steps with gradients of one, and the optimizer."""
    w = Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = build([w])
    for _ in range(steps):
        optimizer.minimize(w.sum)
    return w.tolist(), optimizer


@pytest.mark.parametrize("base", [Descent, torch.optim.SGD])
def test_a_wrapper_is_the_same_around_a_rule_and_around_torch_s_own(base: Any):
    got, optimizer = trained(lambda params: Counted(base(params, lr=0.1)))
    assert got == pytest.approx([-0.3 - 0.5 * (0 + 1 + 2)] * 2)
    (w,) = optimizer.param_groups[0]["params"]
    assert optimizer.state[w]["Counted_count"] == 3


def test_a_method_has_the_options_and_states_of_its_parts():
    got, optimizer = trained(lambda params: CountedDescent(params, counted_share=0.25))
    assert got == pytest.approx([-0.3 - 0.25 * (0 + 1 + 2)] * 2)
    assert optimizer.param_groups[0]["counted_share"] == 0.25
    assert set(CountedDescent.states) == {"count"}
    assert "counted_share=0.25" in str(optimizer.explain())
    with pytest.raises(UnknownOption, match="counted_share"):
        CountedDescent([Parameter(torch.zeros(1))], counted_shar=1.0)


def test_a_checkpoint_goes_on():
    straight, _ = trained(CountedDescent, 4)
    half, optimizer = trained(CountedDescent, 2)
    w = Parameter(torch.tensor(half, dtype=torch.float64))
    again = CountedDescent([w])
    again.load_state_dict(optimizer.state_dict())
    for _ in range(2):
        again.minimize(w.sum)
    assert w.tolist() == straight


def test_a_part_s_options_exist():
    with pytest.raises(RuleError, match="Counted has no option 'shar'; it takes share"):
        type("Wrong", (Descent,), {"around": (around(Counted, {"shar": "x"}),)})
    with pytest.raises(RuleError, match="is not a RuleWrapper"):
        type("Wrong", (Descent,), {"around": (around(Descent),)})
    with pytest.raises(RuleError, match="two of the rules around its own have 'share'"):
        type("Wrong", (Descent,), {"around": (around(Counted), around(Counted))})


def test_the_rule_inside_is_called_once():
    class Twice(RuleWrapper):
        """Calls it twice."""

        @staticmethod
        def rule(p: Value, g: Value, inner: Inner) -> Value:
            """The mean of a step and the next one."""
            return inner(inner(p, g).p, g).p

    with pytest.raises(RuleError, match=r"calls inner\(p, g\) 2 times instead of once"):
        trained(lambda params: Twice(Descent(params)))


def test_what_calls_the_rule_with_other_options_needs_one():
    with pytest.raises(NotOffered, match=r"EpsPlacement calls the rule inside .*optim_core\.get"):
        optim_core.get_wrapper("eps_placement")(torch.optim.AdamW([Parameter(torch.zeros(1))]))


def test_decay_through_the_gradient_is_neither_cautious_nor_corrected():
    base = optim_core.get("adam")([Parameter(torch.zeros(1))], weight_decay=0.1)
    with pytest.raises(WrapperConflict, match="changes decay that acts on the parameter itself"):
        optim_core.get_wrapper("cautious_weight_decay")(base)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_points_count_by_the_step_size_that_the_base_finds(engine):
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = optim_core.get_wrapper("schedulefree")(optim_core.get("prodigy")([w]))
    optimizer.base.engine = engine
    weights = []
    for _ in range(20):
        optimizer.minimize(lambda: w.square().sum())
        weights.append(float(optimizer.param_groups[0]["d"]) ** 2)
    state = optimizer.state[w]
    assert weights[-1] > 1e4 * weights[0]
    assert float(state["ScheduleFree_weight_sum"]) == pytest.approx(sum(weights), rel=1e-12)
    assert float(state["ScheduleFree_lr_max"]) == pytest.approx(weights[-1] ** 0.5, rel=1e-12)


def test_an_eps_that_is_in_no_denominator_stays_where_it_is() -> None:
    w = Parameter(torch.tensor([1.0, -2.0]))
    optimizer = optim_core.get_wrapper("eps_placement")(optim_core.get("apollo")([w]))  # whose eps keeps a norm from 0
    optimizer.minimize(lambda: w.square().sum())
    assert w.isfinite().all()
