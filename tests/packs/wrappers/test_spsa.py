"""SPSA: gradients from losses alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import optim_core
from optim_core.errors import ClosureError, WrapperConflict

SLOPE = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 1.0]], dtype=torch.float64)


def wrapped(**options: Any) -> tuple[torch.nn.Parameter, Any]:
    p = torch.nn.Parameter(torch.full((2, 3), 0.7, dtype=torch.float64))
    return p, optim_core.get_wrapper("spsa")(torch.optim.SGD([p], lr=0.1), **options)


def line(p: torch.Tensor) -> torch.Tensor:
    return (SLOPE * p).sum()


@pytest.mark.parametrize("perturbation", ["normal", "rademacher"])
def test_the_mean_of_many_estimates_is_the_gradient(perturbation):
    p, optimizer = wrapped(samples=4000, perturbation=perturbation)
    optimizer.minimize(lambda: line(p))
    assert (p.grad - SLOPE).abs().max() < 0.3


@pytest.mark.parametrize("perturbation", ["normal", "rademacher"])
def test_one_estimate_lies_on_a_line_through_all_parameters(perturbation):
    p, optimizer = wrapped(perturbation=perturbation)
    loss = optimizer.minimize(lambda: line(p))
    # g = (slope . z) z, so that g . slope = (slope . z)^2 and g . g = (slope . z)^2 z . z
    z = p.grad / (p.grad * SLOPE).sum().sqrt()
    assert torch.allclose((SLOPE * z).sum().abs() * z.abs(), p.grad.abs())
    assert perturbation == "normal" or torch.allclose(z.abs(), torch.ones_like(z))
    assert loss == pytest.approx(float(line(torch.full((2, 3), 0.7, dtype=torch.float64))))
    assert torch.allclose(p, 0.7 - 0.1 * p.grad)


def test_no_graph_is_made_and_parts_are_added_up():
    p, optimizer = wrapped()
    other, whole = wrapped()
    seen = []

    def parts() -> Any:
        for row in range(2):
            seen.append(torch.is_grad_enabled())
            yield (SLOPE[row] * p[row]).sum()

    optimizer.minimize(parts)
    whole.minimize(lambda: line(other))
    assert seen == [False] * 4
    assert torch.allclose(p, other)


def test_a_closure_with_backward_comes_to_the_same_and_may_not_accumulate():
    p, optimizer = wrapped()
    other, same = wrapped()

    def closure() -> torch.Tensor:
        same.zero_grad()
        loss = line(other)
        loss.backward()
        return loss

    assert optimizer.minimize(lambda: line(p)) == same.step(closure)
    assert torch.equal(p, other)

    def adds() -> torch.Tensor:
        loss = line(other)
        loss.backward()
        return loss

    adds()
    before = other.detach().clone()
    with pytest.raises(ClosureError, match=r"have it call optimizer\.zero_grad\(\) first"):
        same.step(adds)
    assert torch.equal(before, other)


def test_both_points_see_the_same_masks_and_the_next_step_others():
    p, optimizer = wrapped()
    masks = []

    def closure() -> torch.Tensor:
        masks.append(torch.rand(3))
        return line(p)

    optimizer.minimize(closure)
    optimizer.minimize(closure)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def test_what_is_frozen_stays_and_draws_follow_from_the_seed():
    runs = []
    for seed in (0, 0, 1):
        p, optimizer = wrapped(seed=seed)
        frozen = torch.nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
        optimizer.add_param_group({"params": [frozen]})
        optimizer.minimize(lambda p=p, frozen=frozen: line(p) + frozen.sum())
        runs.append(p.detach())
        assert frozen.grad is None
        assert torch.equal(frozen, torch.ones(2, dtype=torch.float64))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("result", [None, [torch.zeros(()), torch.zeros(())], torch.zeros(2)])
def test_what_is_no_loss_is_refused_and_nothing_has_moved(result):
    p, optimizer = wrapped()
    before = p.detach().clone()
    with pytest.raises(ClosureError, match="goes by one loss"):
        optimizer.minimize(lambda: result)
    assert torch.equal(p, before)


def test_backward_in_minimize_is_refused():
    p, optimizer = wrapped()

    def closure() -> torch.Tensor:
        loss = line(p)
        loss.backward()
        return loss

    with pytest.raises(ClosureError, match=r"should only compute and return the loss"):
        optimizer.minimize(closure)


@pytest.mark.parametrize("names", [("spsa", "pcgrad"), ("pcgrad", "spsa")])
def test_several_losses_are_refused_at_construction(names):
    inner, outer = map(optim_core.get_wrapper, names)
    base = inner(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1))
    with pytest.raises(WrapperConflict, match="SPSA makes gradients of one loss, and PCGrad one gradient of those of"):
        outer(base)
