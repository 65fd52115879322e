"""Wrappers for several losses that need a model of their own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from optim_core_multitask.rotations import Rotations
from support import golden
from support.small import equal, finite, reloaded
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, InvalidOption, WrapperConflict
from optim_core.testing.problems import wave


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The trajectories are read when tests are collected, not when this module is imported."""
    if "case" in metafunc.fixturenames:
        found = [case for _, case in golden.cases() if case.get("problem") == "rotograd-toy"]
        metafunc.parametrize("case", found, ids=[case["case"] for case in found])


class Toy:
    """The problem `rotograd-toy` of the golden trajectories; `golden/README.md` describes it."""

    def __init__(self, start: Tensor | None = None, *, weighted: bool = False, dtype: torch.dtype = torch.float64):
        shapes = ((4, 3), (4,), (2, 4), (2,), (1, 4), (1,))
        self.params = [Parameter(0.5 * wave(shape, 1.7, i + 0.3).to(dtype)) for i, shape in enumerate(shapes)]
        start = torch.eye(4).expand(2, 4, 4) if start is None else start
        self.rotations = Rotations(tasks=2, size=4, start=start.to(dtype), weighted=weighted)

    def losses(self, t: int) -> list[Tensor]:
        w, b, w1, b1, w2, b2 = self.params
        x, y1, y2 = (
            wave(shape, frequency, phase).to(w.dtype)
            for shape, frequency, phase in (
                ((5, 3), 0.37, 0.9 * t),
                ((5, 2), 0.53, torch.pi / 2 - 0.4 * t),
                ((5, 1), 0.8, 0.3 * t),
            )
        )
        r1, r2 = self.rotations(torch.tanh(x @ w.T + b))
        return [(r1 @ w1.T + b1 - y1).square().mean(), 2 * (r2 @ w2.T + b2 - y2).square().mean()]

    def everything(self) -> list[Tensor]:
        weights = [] if self.rotations.task_weights is None else list(self.rotations.task_weights)
        return [*self.params, *self.rotations.generators, *weights, *self.rotations.matrices()]

    def closure(self, t: int) -> Callable[[], list[Tensor]]:
        return lambda: self.losses(t)


def start_of(size: float) -> Tensor:
    """R_i0 of a case: the exponential of a skew-symmetric matrix."""
    skew = torch.zeros(2, 4, 4, dtype=torch.float64)
    rows, columns = torch.tril_indices(4, 4, offset=-1)
    for i in range(2):
        skew[i, rows, columns] = size * (i + 1) * wave((6,), 1.1, 0.4)
    return torch.matrix_exp(skew - skew.mT)


@pytest.mark.parametrize("way", ["minimize", "backward"])
def test_trajectory(case: Mapping[str, Any], way: str) -> None:
    options = dict(case["kwargs"])
    name = options.pop("variant")
    toy = Toy(start_of(options.pop("rotation_init")), weighted=len(case["params"]["1"]) == 12)
    base = optim_core.get(options.pop("base"))(toy.params, lr=options.pop("lr"))
    optimizer = optim_core.get_wrapper(name)(base, rotations=toy.rotations, **options)
    for n, loss in enumerate(case["losses"], start=1):
        if way == "minimize":
            losses = optimizer.minimize(toy.closure(n - 1))
        else:
            losses = toy.losses(n - 1)
            optimizer.backward(losses)
            optimizer.step()
        assert sum(x.item() for x in losses) == pytest.approx(loss, rel=1e-10)
        for got, wanted in zip(toy.everything(), case["params"].get(str(n), ()), strict=False):
            expected = torch.tensor(wanted, dtype=torch.float64)
            largest = (got.detach().reshape(-1) - expected).abs().max()
            # Adam divides the rotations' gradients, small differences of large numbers, by their own size
            assert largest < 2e-10 * expected.abs().max().clamp(min=1e-3)


NAMES = ["rotate_only", "rotograd", "rotograd_norm"]
each = pytest.mark.parametrize("name", NAMES)


def wrapped(name: str, base: Any, rotations: nn.Module, **options: Any) -> Any:
    needed = {"alpha": 1.0} if "alpha" in optim_core.get_wrapper(name).hypers else {}
    return optim_core.get_wrapper(name)(base, rotations=rotations, **(needed | options))


def test_every_rotation_is_tested() -> None:
    takers = [
        spec.name
        for spec in optim_core.find(kind="wrapper")
        if "rotations" in optim_core.get_wrapper(spec.name).arguments
    ]
    assert sorted(takers) == sorted(NAMES)


@each
def test_resumes_bit_for_bit(name: str) -> None:
    toy = Toy(start_of(0.3), weighted=True)
    optimizer = wrapped(name, optim_core.get("adam")(toy.params, lr=0.01), toy.rotations, burn_in_period=4)
    for t in range(7):
        optimizer.minimize(toy.closure(t))
    state, rotations = reloaded((optimizer.state_dict(), toy.rotations.state_dict()))
    other = Toy(weighted=True)
    other.rotations.load_state_dict(rotations)
    for p, q in zip(toy.params, other.params, strict=True):
        q.data.copy_(p.data)
    resumed = wrapped(name, optim_core.get("adam")(other.params, lr=0.01), other.rotations, burn_in_period=4)
    resumed.load_state_dict(state)
    twins = copy.deepcopy((toy, optimizer))
    for t in range(7, 12):
        for each_toy, each_optimizer in ((toy, optimizer), (other, resumed), twins):
            each_optimizer.minimize(each_toy.closure(t))
    for copies in (other, twins[0]):
        assert equal(toy.everything(), copies.everything())


@each
def test_rotations_stay_rotations_and_tasks_are_learnt(name: str) -> None:
    toy = Toy(weighted=True, dtype=torch.float32)
    optimizer = wrapped(name, torch.optim.Adam(toy.params, lr=0.02), toy.rotations)
    losses = [sum(x.item() for x in optimizer.minimize(toy.closure(0))) for _ in range(100)]
    assert losses[-1] < 0.5 * losses[0]
    matrices = toy.rotations.matrices().detach()
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(4).expand(2, 4, 4), atol=1e-5, rtol=0)
    assert not torch.allclose(matrices, torch.eye(4).expand(2, 4, 4), atol=1e-3)


@each
@pytest.mark.parametrize("options", [{}, {"normalize_losses": True, "burn_in_period": 3}], ids=str)
@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.Adam])
def test_a_scaler_changes_nothing(name: str, options: dict[str, Any], base: Any) -> None:
    """Neither its factor nor steps that it leaves out, the first one among them."""
    plain, scaled = Toy(start_of(0.3), weighted=True), Toy(start_of(0.3), weighted=True)
    first, second = (wrapped(name, base(toy.params, lr=0.01), toy.rotations, **options) for toy in (plain, scaled))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)
    for t in range(7):
        first.minimize(plain.closure(t))
        for factor in (float("inf"), 1.0) if t in (0, 3) else (1.0,):
            second.zero_grad()
            second.backward([factor * loss for loss in scaled.losses(t)], scaler)
            scaler.step(second)
            scaler.update()
            assert second.stepped is (factor == 1)
        torch.testing.assert_close(scaled.everything(), plain.everything(), rtol=1e-10, atol=1e-12)


@each
def test_scaled_gradients_of_low_precision(name: str) -> None:
    """Unscaled in float16, gradients this small would vanish."""
    found = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**18)):
        toy = Toy(start_of(0.3), weighted=True, dtype=torch.float32)
        optimizer = wrapped(name, torch.optim.SGD(toy.params, lr=0.1), toy.rotations)
        with torch.autocast("cpu", dtype=torch.float16, enabled=scaler is not None):
            losses = toy.losses(0)
        optimizer.backward([1e-7 * loss.float() for loss in losses], scaler)
        if scaler is not None:
            scaler.unscale_(optimizer)
        found.append([p.grad for p in toy.rotations.generators])
    for g, wanted in zip(*found, strict=True):
        torch.testing.assert_close(g, wanted, rtol=0.05, atol=0.05 * float(wanted.abs().max()))


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = {
        "backbone": nn.Linear(3, 6),
        "rotations": Rotations(2, 4),
        "first": nn.Linear(6, 1),
        "second": nn.Linear(6, 2),
    }
    return nn.ModuleDict(layers)


def test_rotations_get_a_group_of_their_own() -> None:
    net = model()
    optimizer = optim_core.create_optimizer(
        net, "adamw", lr=0.1, weight_decay=0.3, wrappers=[("rotograd", {"rotations": net["rotations"]})]
    )
    *others, mine = optimizer.param_groups
    assert mine["params"] == list(net["rotations"].parameters())
    assert mine["param_names"] == ["rotations.generators.0", "rotations.generators.1"]
    assert (mine["lr"], mine["weight_decay"]) == (pytest.approx(0.01), 0.0)
    known = dict(net.named_parameters())
    for group in optimizer.param_groups:
        assert [known[n] for n in group["param_names"]] == group["params"]
    assert sum(len(group["params"]) for group in others) == 6

    net = model()
    rest = [p for n, p in net.named_parameters() if "rotations" not in n]
    groups = [{"params": rest}, {"params": net["rotations"].parameters(), "lr": 0.5}]
    with pytest.raises(InvalidOption, match=r"have a group of their own, with lr=0\.5: leave lr_rotation out"):
        wrapped("rotograd", torch.optim.SGD(copy.copy(groups), lr=0.1), net["rotations"], lr_rotation=0.1)
    base = torch.optim.SGD([{"params": rest}, {"params": list(net["rotations"].parameters()), "lr": 0.5}], lr=0.1)
    assert len(wrapped("rotograd", base, net["rotations"]).param_groups) == 2


def test_part_of_an_image_is_rotated_and_eval_mode_is_plain() -> None:
    rotations = Rotations(2, 3, start=torch.linalg.qr(torch.randn(2, 3, 3))[0])
    z = torch.randn(5, 4, 2, 2, requires_grad=True)
    for r, matrix in zip(rotations(z), rotations.start, strict=True):
        torch.testing.assert_close(r[:, :3, 1, 0], z[:, :3, 1, 0] @ matrix.T)
        assert torch.equal(r[:, 3], z[:, 3])
    head = nn.Conv2d(4, 1, 1)
    optimizer = wrapped("rotograd", torch.optim.SGD(head.parameters(), lr=0.1), rotations)
    assert all(r.grad_fn is not None and r.requires_grad for r in rotations(z))
    before = z.grad
    optimizer.minimize(lambda: [head(r).square().mean() for r in rotations(z)])
    assert before is None
    assert z.grad is not None
    rotations.eval()
    rotations(z)[0].sum().backward()
    with pytest.raises(ClosureError, match="in training mode"):
        optimizer.minimize(lambda: [head(r).square().mean() for r in rotations(z)])


@each
def test_goes_with_other_wrappers(name: str) -> None:
    toy = Toy(weighted=True)
    inner = wrapped(name, torch.optim.SGD(toy.params, lr=0.1), toy.rotations)
    optimizer = optim_core.get_wrapper("lookahead")(optim_core.get_wrapper("sam")(inner))
    first = optimizer.minimize(toy.closure(0))
    initial = [inner.memory[p]["loss"] for p in toy.rotations.generators]
    assert torch.equal(torch.stack(initial), torch.stack(first))  # not the losses at SAM's worst point
    for t in range(1, 6):
        optimizer.minimize(toy.closure(t))
    assert inner.counters["steps"] == 6
    assert finite(toy.everything())


@each
def test_accumulation_goes_inside_and_outside(name: str) -> None:
    ends = []
    for inside in (True, False):
        toy = Toy(weighted=True)
        optimizer: Any = torch.optim.SGD(toy.params, lr=0.1)
        for kind in ("accumulate", name) if inside else (name, "accumulate"):
            if kind == name:
                optimizer = merging = wrapped(name, optimizer, toy.rotations)
            else:
                optimizer = optim_core.get_wrapper("accumulate")(optimizer, steps=2)
        for t in range(8):
            optimizer.minimize(toy.closure(t))
        assert merging.counters["steps"] == 4
        ends.append(toy.everything())
    torch.testing.assert_close(*ends)
    assert finite(ends[0])


def test_what_cannot_be() -> None:
    toy = Toy()
    base = torch.optim.SGD(toy.params, lr=0.1)
    with pytest.raises(InvalidOption, match=r"RotoGrad needs rotations=\.\.\."):
        optim_core.get_wrapper("rotograd")(base)
    with pytest.raises(InvalidOption, match=r"rotations=Linear should be the model's"):
        wrapped("rotograd", base, nn.Linear(1, 1))
    with pytest.raises(InvalidOption, match="RotoGradNorm needs alpha"):
        optim_core.get_wrapper("rotograd_norm")(base, rotations=toy.rotations)
    with pytest.raises(InvalidOption, match=r"build Rotations\(\.\.\., weighted=True\)"):
        wrapped("rotograd_norm", base, toy.rotations)
    with pytest.raises(InvalidOption, match=r"start of shape \(4, 4\) should be \(2, 4, 4\)"):
        Rotations(2, 4, start=torch.eye(4))
    with pytest.raises(InvalidOption, match="not orthogonal"):
        Rotations(2, 4, start=torch.ones(2, 4, 4))
    pcgrad = optim_core.get_wrapper("pcgrad")(base)
    with pytest.raises(
        WrapperConflict, match=r"RotoGrad and PCGrad each make one gradient of the losses.*: choose one"
    ):
        wrapped("rotograd", optim_core.get_wrapper("lookahead")(pcgrad), toy.rotations)
    assert len(base.param_groups) == 1
    optimizer = wrapped("rotograd", base, toy.rotations)
    with pytest.raises(ClosureError, match=r"there are 3 losses, and one pass"):
        optimizer.minimize(lambda: [*toy.losses(0), toy.params[0].sum()])
    with pytest.raises(ClosureError, match=r"there are 2 losses, and no pass"):
        optimizer.minimize(lambda: [toy.params[0].sum(), toy.params[0].sum()])
    with pytest.raises(ClosureError, match="does not depend on what"):
        optimizer.minimize(lambda: [toy.losses(0)[0], toy.params[0].sum()])


def test_a_base_that_refuses_the_rotations_group_is_left_as_it_was() -> None:
    toy = Toy()
    params = [*toy.params, *toy.rotations.parameters()]
    base = optim_core.get("prodigy")([(f"p{i}", p) for i, p in enumerate(params)])
    with pytest.raises(WrapperConflict, match=r"with lr=0\.1: Prodigy has one step size: .* lr_rotation sets their lr"):
        wrapped("rotograd", base, toy.rotations)
    assert len(base.param_groups) == 1
    assert [id(p) for p in base.param_groups[0]["params"]] == [id(p) for p in params]
    assert len(base.param_groups[0]["param_names"]) == len(params)
    optimizer = wrapped("rotograd", base, toy.rotations, lr_rotation=1.0)
    assert len(optimizer.minimize(toy.closure(0))) == 2


def test_normalised_losses_may_be_negative() -> None:
    toy = Toy()
    optimizer = wrapped("rotate_only", torch.optim.SGD(toy.params, lr=0.1), toy.rotations, normalize_losses=True)
    shifted = [loss - 10 for loss in toy.losses(0)]  # as log-likelihoods may be
    optimizer.backward(shifted)
    for head, loss in zip((toy.params[2:4], toy.params[4:6]), shifted, strict=True):
        plain = Toy()
        torch.stack(plain.losses(0)).sum().backward()
        for p in head:
            i = next(i for i, q in enumerate(toy.params) if q is p)
            torch.testing.assert_close(p.grad, plain.params[i].grad / -loss.detach())


def test_create_optimizer_finds_the_model_s_rotations() -> None:
    model = nn.ModuleDict({"backbone": nn.Linear(3, 4), "rotations": Rotations(tasks=2, size=4)})
    optimizer = optim_core.create_optimizer(model, "sgd", lr=0.1, wrappers=["rotograd"])
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.01)
    assert optimizer.param_groups[-1]["param_names"] == ["rotations.generators.0", "rotations.generators.1"]
    model["others"] = Rotations(tasks=2, size=4)
    with pytest.raises(InvalidOption, match=r"RotoGrad needs rotations=\.\.\."):
        optim_core.create_optimizer(model, "sgd", wrappers=["rotograd"])
    chosen = optim_core.create_optimizer(model, "sgd", wrappers=[("rotograd", {"rotations": model["others"]})])
    assert chosen.param_groups[-1]["param_names"] == ["others.generators.0", "others.generators.1"]
