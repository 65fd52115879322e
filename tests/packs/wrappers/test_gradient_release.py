"""GradientRelease, and fused_backward: the ordinary loop's numbers, with one gradient at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optim_core_adaptive import AdaLOMO
from optim_core_momentum import LOMO
from optim_core_wrappers import EMA, Accumulate, GradientClipping, GradientRelease, Lookahead
from support.small import copies, equal, parameters
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, InvalidOption, WrapperConflict
from optim_core.testing.problems import PROBLEMS

NET = PROBLEMS["net"]
BASES = ["adamw", "adafactor", "muon", "torch:adamw", "torch:sgd"]


def base(name: str, params: list[Parameter], **options: Any) -> Any:
    return optim_core.get(name)(params, lr=0.01, **options)


@pytest.mark.parametrize("name", BASES)
def test_the_numbers_are_those_of_the_ordinary_loop(name: str) -> None:
    ends = []
    for release in (False, True):
        params = NET.parameters()
        optimizer = base(name, params)
        optimizer = GradientRelease(optimizer) if release else optimizer
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        for t in range(4):
            NET.loss(params, t).backward()
            assert all((p.grad is None) is release for p in params)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        ends.append(params)
    assert equal(*ends)


def test_a_loss_in_parts_is_refused_before_anything_moves() -> None:
    params = NET.parameters()
    optimizer = GradientRelease(base("adamw", params))
    before = copies(params)
    with pytest.raises(ClosureError, match=r"a loss in parts .* return the loss as a whole"):
        optimizer.minimize(lambda: iter([NET.loss(params, 0), NET.loss(params, 1)]))
    assert equal(params, before)


def test_parameters_that_come_in_the_place_of_others_are_released_too() -> None:
    params = NET.parameters()
    optimizer = GradientRelease(base("adamw", params))
    optimizer.minimize(lambda: NET.loss(params, 0))
    params = [Parameter(p.detach().clone()) for p in params]
    optimizer.param_groups[0]["params"][:] = params
    optimizer.minimize(lambda: NET.loss(params, 1))
    NET.loss(params, 2).backward()
    assert all(p.grad is None for p in params)


def test_one_gradient_is_there_at_a_time() -> None:
    params = NET.parameters()
    optimizer = GradientRelease(base("adamw", params))
    most = []
    for p in params:  # called before the optimizer's own, or after: either way the others' are gone, or not there yet
        p.register_post_accumulate_grad_hook(lambda _: most.append(sum(q.grad is not None for q in params)))
    NET.loss(params, 0).backward()
    optimizer.step()
    assert max(most) <= 1


def test_wrappers_around_it_act_on_whole_steps() -> None:
    ends = []
    for release in (False, True):
        params = NET.parameters()
        inner = base("adamw", params)
        optimizer = EMA(GradientRelease(inner) if release else inner, decay=0.5)
        for t in range(4):
            optimizer.minimize(lambda t=t, params=params: NET.loss(params, t))
        with optimizer.averaged():
            ends.append(copies(params))
    assert equal(*ends)


def test_a_second_backward_before_step_is_refused_before_anything_moves() -> None:
    params = NET.parameters()
    optimizer = GradientRelease(base("sgd", params))
    NET.loss(params, 0).backward()
    before = copies(params)
    with pytest.raises(ClosureError, match="a second backward"):
        NET.loss(params, 1).backward()
    assert equal(before, params)
    optimizer.step()
    optimizer.zero_grad()
    NET.loss(params, 1).backward()


def test_what_needs_all_gradients_together_is_refused() -> None:
    with pytest.raises(WrapperConflict, match="cannot go around Prodigy, which needs the gradients of all"):
        GradientRelease(optim_core.get("prodigy")(parameters()))
    with pytest.raises(WrapperConflict, match="cannot go around SGD with"):
        GradientClipping(GradientRelease(base("sgd", parameters())), max_norm=1.0)
    with pytest.raises(WrapperConflict, match="Accumulate cannot go around GradientRelease"):
        Accumulate(GradientRelease(base("sgd", parameters())))
    with pytest.raises(WrapperConflict, match="Lookahead cannot go around GradientRelease"):
        Lookahead(GradientRelease(base("sgd", parameters())))
    with pytest.raises(WrapperConflict, match="which acts on steps as a whole: put EMA around"):
        GradientRelease(EMA(base("sgd", parameters())))


def test_without_hooks_the_loop_is_the_ordinary_one() -> None:
    params = NET.parameters()
    optimizer = GradientRelease(base("sgd", params))
    optimizer.release_hooks()
    NET.loss(params, 0).backward()
    assert all(p.grad is not None for p in params)
    before = copies(params)
    optimizer.step()
    assert not equal(before, params)


@pytest.mark.parametrize("cls", [LOMO, AdaLOMO])
def test_fused_backward_clips_by_a_norm_measured_for_it(cls: Any) -> None:
    params = NET.parameters()
    optimizer = cls(params, lr=0.1, clip_grad_norm=0.1)
    with pytest.raises(ClosureError, match="call grad_norm"):
        optimizer.fused_backward(NET.loss(params, 0))
    before = copies(params)
    norm = optimizer.grad_norm(NET.loss(params, 0))
    assert equal(before, params)
    assert norm == pytest.approx(
        torch.stack([g.norm() for g in torch.autograd.grad(NET.loss(params, 0), params)]).norm()
    )
    optimizer.fused_backward(NET.loss(params, 0), lr=0.2)
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert all(p.grad is None for p in params)
    with pytest.raises(ClosureError, match="call grad_norm"):  # it counts once
        optimizer.fused_backward(NET.loss(params, 0))


def test_fused_backward_with_a_transform_over_all_parameters_is_refused() -> None:
    params = NET.parameters()
    optimizer = LOMO(params)
    GradientClipping(optimizer, max_norm=1.0)
    with pytest.raises(InvalidOption, match="a parameter's step depends on others"):
        optimizer.fused_backward(NET.loss(params, 0))
