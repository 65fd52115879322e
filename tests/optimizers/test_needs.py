"""What a method needs beside gradients: declared once on its class, told by its spec, asked of anybody's optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, extra, hyper
from optim_core.catalog.registry import load_class
from optim_core.optimizers import needs_of

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

DECLARING = [spec for spec in optim_core.find() if hasattr(load_class(spec), "needs")]  # torch's own classes cannot


def weight() -> Parameter:
    return Parameter(torch.ones(2, 3))


def wrapped(name: str, base: Any, **options: Any) -> Any:
    return optim_core.get_wrapper(name)(base, **options)


def test_every_method_of_ours_declares_its_needs() -> None:
    silent = {spec.target.partition(":")[0].partition(".")[0] for spec in optim_core.find() if spec not in DECLARING}
    assert silent == {"torch"}


def test_needs_with_the_options_in_force() -> None:
    assert needs_of(optim_core.get("adamw")([weight()])) == set()
    assert needs_of(optim_core.get("asgd")([weight()])) == {"closure"}
    assert needs_of(optim_core.get("asgd")([weight()], consecutive=True)) == set()
    named = optim_core.get("adamw")([("layer.weight", weight())])
    assert needs_of(wrapped("asam", named)) == {"closure", "named_params"}
    assert needs_of(wrapped("asam", optim_core.get("adamw")([weight()]), scale="all")) == {"closure"}


def test_a_wrapper_needs_what_stands_inside_it_too() -> None:
    optimizer = wrapped("lookahead", wrapped("sam", optim_core.get("schedulefreesgd")([weight()])))
    assert needs_of(optimizer) == {"closure", "train_eval_mode"}


def test_a_need_in_some_steps_is_one_in_force_though_the_next_step_may_do_without() -> None:
    optimizer = optim_core.get("sophiah")([weight()], update_period=2)
    asked = []
    for _ in range(3):
        asked.append(optimizer.needs_graph)
        optimizer.minimize(lambda: optimizer.param_groups[0]["params"][0].pow(4).sum())
        assert needs_of(optimizer) == {"create_graph"}
    assert asked == [True, False, True]


def test_needs_that_somebody_else_s_class_shows() -> None:
    class Averaging(torch.optim.SGD):
        def train(self) -> None: ...
        def eval(self) -> None: ...

    assert needs_of(torch.optim.SGD([weight()], lr=0.1)) == set()
    assert needs_of(torch.optim.LBFGS([weight()])) == {"closure"}
    assert needs_of(Averaging([weight()], lr=0.1)) == {"train_eval_mode"}
    assert needs_of(wrapped("lookahead", Averaging([weight()], lr=0.1))) == {"train_eval_mode"}


def test_a_declared_need_of_a_graph_is_met_by_minimize() -> None:
    class Curved(RuleOptimizer):
        needs = frozenset({"create_graph"})
        lr: float = hyper(0.1, "step size", ge=0)
        slope = extra("derivative of the gradients' sum")

        def extras(self, params: Any) -> dict[str, list[Tensor]]:
            with torch.enable_grad():
                total = torch.stack([p.grad.sum() for p in params]).sum()
                return {"slope": list(torch.autograd.grad(total, params))}

        @staticmethod
        def rule(p: Any, g: Any, slope: Any, *, lr: Any) -> Any:
            return p - lr * slope

    w = Parameter(torch.tensor([1.0, 2.0]))
    Curved([w], lr=0.5).minimize(lambda: w.square().sum())
    assert w.tolist() == [0.0, 1.0]
