"""What single sharpness-aware methods promise beyond their trajectories."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.small import copies, parameters
from support.two_steps import STEPS, loss, minimized, sgd, wrapped
from torch import Tensor
from torch.nn import Parameter

from optim_core.errors import InvalidOption


def end(name: str, steps: int = STEPS, **options: Any) -> list[Parameter]:
    params = parameters()
    optimizer = wrapped(name, sgd(params), **options)
    for t in range(steps):
        minimized(optimizer, params, t)
    return params


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            ("asam", {"scale": "all", "eta": 0, "rho": 0.3, "perturb_eps": 1e-12}),
            ("sam", {"adaptive": True, "rho": 0.3}),
        ),
        (("gsam", {"alpha": 0, "rho": 0.1}), ("sam", {"rho": 0.1})),
        (("gsam", {"max_rho": 0.3, "min_rho": 0.1, "max_lr": 0.2, "min_lr": 0.0}), ("gsam", {"rho": 0.2})),
        (("gsam", {"max_rho": 0.3, "min_rho": 0.1, "max_lr": 0.1, "min_lr": 0.1}), ("gsam", {"rho": 0.3})),
        (("wsam", {"gamma": 0.5, "decouple": False}), ("sam", {})),
        (("looksam", {"k": 1, "rho": 0.2}), ("sam", {"rho": 0.2})),
    ],
)
def test_methods_that_are_special_cases(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    first, second = end(one[0], **one[1]), end(other[0], **other[1])
    torch.testing.assert_close(first, second, rtol=1e-11, atol=1e-13)


def test_gsam_s_radius() -> None:
    params = parameters()
    schedule = {"max_rho": 0.3, "min_rho": 0.1, "max_lr": 0.2, "min_lr": 0.1}
    with pytest.raises(InvalidOption, match="the schedule of rho lacks min_rho, min_lr"):
        wrapped("gsam", sgd(params), max_rho=0.3, max_lr=0.2)
    with pytest.raises(InvalidOption, match=r"rho=0\.1 leaves max_rho, min_rho, max_lr, min_lr without effect"):
        wrapped("gsam", sgd(params), rho=0.1, **schedule)
    with pytest.raises(InvalidOption, match="max_lr must be at least min_lr"):
        wrapped("gsam", sgd(params), **(schedule | {"max_lr": 0.05}))
    optimizer = wrapped("gsam", sgd(params), **schedule)
    for lr, rho in ((0.15, 0.2), (0.25, 0.4), (0.0, 0.0)):
        optimizer.param_groups[0]["lr"] = lr
        assert optimizer.options_of(optimizer.param_groups[0])["rho"] == pytest.approx(rho)


def test_asam_goes_by_names() -> None:
    params = parameters()
    with pytest.raises(InvalidOption, match=r"model\.named_parameters\(\), or choose scale='all'"):
        wrapped("asam", torch.optim.SGD(params, lr=0.1))
    optimizer = wrapped("asam", sgd(params), rho=0.5, eta=0.25)
    loss(params, 0).backward()
    (w, b), (g, h) = copies(params), [p.grad.clone() for p in params]
    scale = w.abs() + 0.25
    norm = torch.sqrt((scale * g).square().sum() + h.square().sum())
    optimizer.first_step()
    torch.testing.assert_close(params[0].detach(), w + 0.5 * scale**2 * g / norm)
    torch.testing.assert_close(params[1].detach(), b + 0.5 * h / norm)


@pytest.mark.parametrize("decouple", [True, False])
def test_wsam_clips_the_second_gradient(decouple: bool) -> None:
    params, a = parameters(), 0.9 / (1 - 0.9)
    base = torch.optim.SGD(params, lr=0.1)
    optimizer = wrapped("wsam", base, max_norm=0.01, decouple=decouple)
    loss(params, 0).backward()
    w, g = copies(params), [p.grad.clone() for p in params]
    optimizer.first_step()
    loss(params, 0).backward()
    clipped = [p.grad.clone() for p in params]
    norm = torch.nn.utils.get_total_norm(clipped)
    optimizer.second_step()
    for p, old, first, second in zip(params, w, g, clipped, strict=True):
        torch.testing.assert_close(p.detach(), old - 0.1 * (a * second * 0.01 / (norm + 1e-6) + (1 - a) * first))


def flat(params: list[Parameter]) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in params])


@pytest.mark.parametrize("layerwise", [False, True])
def test_looksam_by_its_formulas(layerwise: bool) -> None:
    rho, k, alpha, lr = 0.2, 3, 0.5, 0.1
    params, others = parameters(), parameters()
    optimizer = wrapped("looksam", torch.optim.SGD(params, lr=lr), rho=rho, k=k, alpha=alpha, layerwise=layerwise)
    kept: list[Tensor] = []

    def gradients(t: int) -> list[Tensor]:
        found = torch.autograd.grad(loss(others, t), others)
        return list(found) if layerwise else [torch.cat([g.reshape(-1) for g in found])]

    def move(steps: list[Tensor]) -> None:
        parts = steps if layerwise else steps[0].split([p.numel() for p in others])
        with torch.no_grad():
            for p, step in zip(others, parts, strict=True):
                p.add_(step.reshape(p.shape))

    for t in range(8):
        g = gradients(t)
        if t % k == 0:
            sizes = [p.detach().norm() for p in others] if layerwise else [torch.tensor(1.0)]
            e = [rho * size * x / x.norm() for size, x in zip(sizes, g, strict=True)]
            move(e)
            g_s = gradients(t)
            move([-x for x in e])
            kept = [s - (s * x).sum() / x.square().sum() * x for s, x in zip(g_s, g, strict=True)]
        else:
            g_s = [x + alpha * x.norm() / (v.norm() + 1e-8) * v for x, v in zip(g, kept, strict=True)]
        move([-lr * s for s in g_s])
        minimized(optimizer, params, t)
        torch.testing.assert_close(flat(params), flat(others), rtol=1e-7, atol=1e-9)


def test_groups_have_a_radius_of_their_own() -> None:
    params = parameters()
    base = torch.optim.SGD([{"params": params[:1], "rho": 0.0}, {"params": params[1:]}], lr=0.1)
    optimizer = wrapped("sam", base, rho=0.5)
    loss(params, 0).backward()
    before, g = copies(params), [p.grad.clone() for p in params]
    optimizer.first_step()
    assert torch.equal(params[0], before[0])
    norm = torch.nn.utils.get_total_norm(g)
    torch.testing.assert_close(params[1].detach(), before[1] + 0.5 * g[1] / norm)
    with pytest.raises(InvalidOption, match=r"SAM, in a parameter group: rho=-1\.0 is out of range"):
        wrapped("sam", torch.optim.SGD([{"params": params, "rho": -1.0}], lr=0.1))
