"""Nonlinear conjugate gradients, held against a slow program of the survey's formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import lbfgs

import optim_core
from optim_core.errors import WrapperConflict
from optim_core.testing.problems import PROBLEMS

PROBLEM = PROBLEMS["net"]


def slow(formula: str, iterations: int, c2: float) -> Tensor:
    """As one vector, with torch's own line search."""
    params = PROBLEM.parameters()
    x = torch.nn.utils.parameters_to_vector(params).detach()
    evaluate = evaluator(params)
    f, g = evaluate(x)
    d, t = -g, min(1.0, 1.0 / float(g.abs().sum()))
    for _ in range(iterations):
        slope = g.dot(d)
        before, old = g, slope
        search: Any = lbfgs._strong_wolfe  # type: ignore[attr-defined]
        f, g, t, _ = search(
            lambda x, t, d: evaluate(x + t * d), x, t, d, f, g, slope, c2=c2, tolerance_change=1e-9, max_ls=999
        )
        x, y = x + t * d, g - before
        b = {
            "polak_ribiere": max(0.0, float(g.dot(y) / before.dot(before))),
            "dai_yuan": float(g.dot(g) / d.dot(y)),
            "hager_zhang": max(
                float((y - 2 * d * y.dot(y) / d.dot(y)).dot(g) / d.dot(y)),
                -1 / (float(d.norm()) * min(0.01, float(before.norm()))),
            ),
        }[formula]
        d = -g + b * d
        if g.dot(d) >= 0:
            d = -g
        t = float(t * old / g.dot(d))
    return x


def evaluator(params: Any) -> Callable[[Tensor], tuple[float, Tensor]]:
    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        torch.nn.utils.vector_to_parameters(x, params)
        with torch.enable_grad():
            loss = PROBLEM.loss(params, 0)
            gradients = torch.autograd.grad(loss, params)
        return float(loss.detach()), torch.nn.utils.parameters_to_vector(gradients).detach()

    return evaluate


@pytest.mark.parametrize("max_iter", [1, 3])
@pytest.mark.parametrize("formula", ["polak_ribiere", "hager_zhang", "dai_yuan"])
def test_does_what_the_survey_says(formula: str, max_iter: int) -> None:
    params = PROBLEM.parameters()
    optimizer = optim_core.get("nonlinearcg")(params, formula=formula, max_iter=max_iter, max_eval=1000, c2=0.2)
    for _ in range(6 // max_iter):
        optimizer.minimize(lambda: PROBLEM.loss(params, 0))
    found = torch.nn.utils.parameters_to_vector(params).detach()
    torch.testing.assert_close(found, slow(formula, 6, 0.2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("formula", ["polak_ribiere", "hager_zhang", "dai_yuan"])
def test_a_quadratic_of_n_dimensions_takes_n_exact_steps(formula: str) -> None:
    w = Parameter(torch.ones(4, dtype=torch.float64))
    curvatures = torch.tensor([1.0, 3.0, 10.0, 40.0], dtype=torch.float64)
    optimizer = optim_core.get("nonlinearcg")([w], formula=formula, max_iter=4, max_eval=1000, c2=1.1e-4)

    def quadratic() -> Tensor:
        return (curvatures * w.square()).sum()

    loss = math.inf
    for _ in range(2):
        loss = float(optimizer.minimize(quadratic))
    assert loss < 1e-6


@pytest.mark.parametrize("name", ["lbfgs", "nonlinearcg"])
def test_gradients_merged_of_several_losses_are_refused(name: str) -> None:
    base = optim_core.get(name)([torch.nn.Parameter(torch.ones(2))])
    with pytest.raises(WrapperConflict, match=r"PCGrad cannot go around \w+, which goes by the loss of its gradient"):
        optim_core.get_wrapper("pcgrad")(base)
