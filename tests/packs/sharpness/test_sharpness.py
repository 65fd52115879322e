"""The wrappers that evaluate twice a step: driven in every way, they do the same, and leave nothing behind."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.methods import two_step_wrappers
from support.small import copies, equal, finite, named, parameters
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core.errors import ClosureError, InvalidOption, SparseGradient, UnsupportedParameter

STEPS = 13

each = pytest.mark.parametrize("name", two_step_wrappers())


def batches(params: list[Parameter], t: int) -> list[Tensor]:
    """The losses of the two halves of a batch."""
    w, b = params
    x = torch.sin(torch.arange(32, dtype=torch.float64) + t).reshape(8, 4).to(w.dtype)
    return [((part @ w.T + b).tanh() - part[:, :3]).square().sum() / 24 for part in x.split(4)]


def loss(params: list[Parameter], t: int) -> Tensor:
    first, second = batches(params, t)
    return first + second


def wrapped(name: str, base: Any, **options: Any) -> Any:
    return optim_core.get_wrapper(name)(base, **options)


def period(name: str, steps: int) -> dict[str, int]:
    """Options of a wrapper that evaluates twice in some steps only: how often that is."""
    return {"k": steps} if "k" in optim_core.get_wrapper(name).hypers else {}


def sgd(params: list[Parameter], lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(named(params), lr=lr, momentum=0.9)


# ways to take a step -------------------------------------------------------------------------------------------
def minimized(optimizer: Any, params: list[Parameter], t: int) -> None:
    optimizer.minimize(lambda: loss(params, t))


def stepped(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(params, t)
        value.backward()
        return value

    optimizer.step(closure)


def by_hand(optimizer: Any, params: list[Parameter], t: int) -> None:
    optimizer.zero_grad()
    loss(params, t).backward()
    if optimizer.first_step():
        loss(params, t).backward()
    optimizer.second_step()


def by_hand_always_twice(optimizer: Any, params: list[Parameter], t: int) -> None:
    optimizer.zero_grad(set_to_none=False)
    loss(params, t).backward()
    optimizer.first_step(zero_grad=False)
    optimizer.zero_grad(set_to_none=False)
    loss(params, t).backward()
    optimizer.step()


def minimized_in_parts(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Iterator[Tensor]:
        for part in range(2):
            yield batches(params, t)[part]

    optimizer.minimize(closure)


def accumulated(optimizer: Any, params: list[Parameter], t: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        parts = batches(params, t)
        for part in parts:
            part.backward(retain_graph=True)
        return torch.stack(parts).sum().detach()

    optimizer.step(closure)


def accumulated_by_hand(optimizer: Any, params: list[Parameter], t: int) -> None:
    optimizer.zero_grad()
    for move in (optimizer.first_step, optimizer.second_step):
        for part in range(2):
            batches(params, t)[part].backward()
        move()


def scaled(optimizer: Any, params: list[Parameter], t: int) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer.zero_grad()
    scaler.scale(loss(params, t)).backward()
    scaler.unscale_(optimizer)
    optimizer.first_step()
    scaler.update()
    scaler.scale(loss(params, t)).backward()
    scaler.step(optimizer)
    scaler.update()


WAYS = (stepped, by_hand, by_hand_always_twice, minimized_in_parts, accumulated, accumulated_by_hand, scaled)


@each
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("base", [sgd, lambda params: optim_core.get("adamw")(list(zip("ab", params, strict=True)))])
def test_all_ways_give_the_same_numbers(name: str, way: Callable[..., None], base: Any) -> None:
    options = {"scale": "all"} if "scale" in optim_core.get_wrapper(name).hypers else {}
    ends = []
    for drive in (minimized, way):
        params = parameters()
        optimizer = wrapped(name, base(params), **options)
        for t in range(STEPS):
            drive(optimizer, params, t)
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-14)


@each
def test_engines_agree(name: str) -> None:
    ends = []
    for engine in ("eager", "native"):
        params = parameters()
        base = optim_core.get("sgd")(named(params), lr=0.1, engine=engine)
        optimizer = wrapped(name, base)
        for t in range(STEPS):
            minimized(optimizer, params, t)
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-14)


@each
def test_the_excursion_leaves_nothing_behind(name: str) -> None:
    params = parameters(dtype=torch.bfloat16)
    optimizer = wrapped(name, sgd(params, lr=0.0))
    before = copies(params)
    places = [p.data_ptr() for p in params]
    for t in range(STEPS):
        by_hand(optimizer, params, t)
    assert equal(params, before)
    assert places == [p.data_ptr() for p in params]
    assert set(optimizer.state_dict()) >= {"state", "param_groups", "wrappers"}


@each
def test_weights_come_back_when_the_second_evaluation_fails(name: str) -> None:
    params = parameters()
    model = nn.BatchNorm1d(3)
    optimizer = wrapped(name, sgd(params), model=model)
    before = copies(params)

    def failing() -> Tensor:
        if optimizer._away:
            raise RuntimeError("out of data")
        return loss(params, 0)

    with pytest.raises(RuntimeError, match="out of data"):
        optimizer.minimize(failing)
    assert equal(params, before)
    assert model.momentum == 0.1
    assert model.track_running_stats
    loss(params, 0).backward()
    optimizer.first_step()
    assert not torch.equal(params[0], before[0])
    optimizer.restore()
    assert equal(params, before)
    minimized(optimizer, params, 0)


@each
def test_gradients_of_zero_move_nothing(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, torch.optim.SGD(list(zip(("a.weight", "b"), params, strict=True)), lr=0.1))
    before = copies(params)
    for _ in range(STEPS):
        optimizer.minimize(lambda: sum((0.0 * p).sum() for p in params))
    assert equal(params, before)


@each
def test_parameters_without_a_gradient_in_one_of_the_evaluations(name: str) -> None:
    for absent in (True, False):
        params = parameters()
        optimizer = wrapped(name, sgd(params))
        before = params[1].detach().clone()
        for _ in range(2):
            optimizer.zero_grad()
            loss([params[0], params[1].detach()] if absent else params, 0).backward()
            optimizer.first_step()
            loss(params if absent else [params[0], params[1].detach()], 0).backward()
            optimizer.second_step()
        assert finite(params)
        assert absent or type(optimizer).fall is not None or torch.equal(params[1], before)


@each
def test_a_parameter_takes_the_place_of_another_between_the_evaluations(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, torch.optim.SGD(list(zip(("a.weight", "b.weight"), params, strict=True)), lr=0.1))
    before = copies(params)
    params[0].sum().backward()
    optimizer.first_step()
    params[1].square().sum().backward()
    optimizer.second_step()
    assert finite(params)
    assert not torch.equal(params[1], before[1])


@each
def test_parameters_in_another_memory_format(name: str) -> None:
    ends = []
    for form in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 3)).to(dtype=torch.float64, memory_format=form)
        optimizer = wrapped(name, torch.optim.SGD(model.named_parameters(), lr=0.1))
        x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
        for _ in range(STEPS):
            optimizer.minimize(lambda: model(x).square().mean())  # noqa: B023
        ends.append([p.detach().contiguous() for p in model.parameters()])
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-12)


# what stands from one step to the next -------------------------------------------------------------------------
def other_memory(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = draw.choice(params)
    p.data = p.data.clone()


def other_layout(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = params[0]
    p.data = p.data.t().contiguous().t() if p.is_contiguous() else p.data.contiguous()


def other_rate(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    draw.choice(optimizer.param_groups)["lr"] = draw.uniform(0.01, 0.1)


def other_radius(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    optimizer.options["rho"] = draw.uniform(0.05, 0.5)


def radius_of_a_group(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    draw.choice(optimizer.param_groups)["rho"] = draw.uniform(0.05, 0.5)


def frozen(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = draw.choice(params[:-1])
    p.requires_grad_(not p.requires_grad)


def other_group(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    p = optimizer.param_groups[0]["params"].pop()
    name = optimizer.param_groups[0]["param_names"].pop()
    optimizer.add_param_group({"params": [(name, p)], "lr": 0.05})


def reloaded(optimizer: Any, params: list[Parameter], draw: random.Random) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


EVENTS = (other_memory, other_layout, other_rate, other_radius, radius_of_a_group, frozen, other_group, reloaded)


@each
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_what_stands_from_step_to_step_changes_nothing(name: str, engine: str) -> None:
    ends = []
    for afresh in (False, True):
        draw = random.Random(0)  # noqa: S311 - nothing secret
        params = [Parameter(torch.sin(torch.arange(1200.0) + i).double().reshape(30, 40)) for i in range(5)]
        named = [(f"{i}.{'weight' if i % 2 else 'bias'}", p) for i, p in enumerate(params)]
        groups = [{"params": named[:3], "lr": 0.1}, {"params": named[3:], "lr": 0.05}]
        optimizer = wrapped(name, optim_core.get("sgd")(groups, lr=0.1, engine=engine), **period(name, 2))
        steps = [event for event in EVENTS for _ in range(3)]
        draw.shuffle(steps)
        for event in steps:
            if event is not other_group or len(optimizer.param_groups[0]["params"]) > 1:
                event(optimizer, params, draw)
            for _ in range(2):
                if afresh:
                    optimizer._settle()
                optimizer.minimize(lambda: sum((p * p).sin().sum() for p in params if p.requires_grad))  # noqa: B023
        ends.append(copies(params))
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


@each
def test_gradients_that_do_not_fit_are_refused_and_nothing_has_moved(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, sgd(params), **period(name, 1))
    mixes = optimizer.expressions()[1] is not None
    for second in (False, True) if mixes else (False,):
        minimized(optimizer, params, 0)
        before = copies(params)
        optimizer.zero_grad()
        loss(params, 0).backward()
        if second:
            optimizer.first_step()
            loss(params, 0).backward()
        params[1].grad = torch.ones(3, dtype=torch.float64).to_sparse()
        for _ in range(2):
            with pytest.raises(SparseGradient, match=r"sparse gradient for a parameter of shape \(3,\)"):
                optimizer.second_step() if second else optimizer.first_step()
        optimizer.restore()
        optimizer.zero_grad()
        assert equal(params, before)
    loss(params, 0).backward()
    params[0].data = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(UnsupportedParameter, match=r"a gradient of shape \(3, 4\) .* does not fit .* \(2, 2\)"):
        optimizer.first_step()
    assert params[0].eq(1).all()


@each
def test_a_second_step_that_fails_can_be_taken_again(name: str) -> None:
    """With other gradients, those of a parameter among them that had none before."""
    ends = []
    for fails in (False, True):
        params = parameters()
        optimizer = wrapped(name, sgd(params), **period(name, 1))
        minimized(optimizer, params, 0)
        optimizer.zero_grad()
        (params[0] ** 2).sum().backward()
        optimizer.first_step()
        if fails and optimizer.expressions()[1] is not None:
            (params[0] ** 3).sum().backward()
            params[1].grad = torch.ones(3, dtype=torch.float64).to_sparse()
            with pytest.raises(SparseGradient):
                optimizer.second_step()
            optimizer.zero_grad()
        loss(params, 1).backward()
        optimizer.second_step()
        ends.append(params)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


@each
def test_a_plain_step_says_what_to_do(name: str) -> None:
    params = parameters()
    optimizer = wrapped(name, sgd(params))
    loss(params, 0).backward()
    with pytest.raises(ClosureError, match=r"minimize\(closure\).*all parts of the batch.*first_step\(\)"):
        optimizer.step()
    optimizer.zero_grad()
    with pytest.raises(ClosureError, match=r"found no gradients: call backward\(\) before it"):
        optimizer.first_step()
    minimized(optimizer, params, 0)


# mixed precision -----------------------------------------------------------------------------------------------
@each
@pytest.mark.parametrize("overflowing", [0, 1])
def test_an_overflow_skips_the_step_and_brings_the_weights_back(name: str, overflowing: int) -> None:
    params, others = parameters(), parameters()
    optimizer, plain = wrapped(name, sgd(params)), wrapped(name, sgd(others))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = copies(params)
    factors = [float("inf") if i == overflowing else 1.0 for i in range(2)]
    scaler.scale(loss(params, 0) * factors[0]).backward()
    scaler.unscale_(optimizer)
    optimizer.first_step()
    scaler.update()
    scaler.scale(loss(params, 0) * factors[1]).backward()
    scaler.step(optimizer)
    scaler.update()
    skipped = equal(params, before)
    # some make no use of the first gradient but to find their way, and have found none here
    assert skipped or overflowing == 0
    if not skipped:
        torch.optim.SGD(others, lr=0.1).step(lambda: loss(others, 0).backward())
        torch.testing.assert_close(params, others)
        for t in range(1, STEPS):
            scaled(optimizer, params, t)
        assert finite(params)
        return
    for t in range(1, STEPS):
        scaled(optimizer, params, t)
        minimized(plain, others, t)
    torch.testing.assert_close(params, others)


def test_a_scaler_takes_no_closure() -> None:
    params = parameters()
    optimizer = wrapped("sam", sgd(params))
    scaler = torch.amp.GradScaler("cpu")
    for closure, text in (
        (None, r"first_step\(\) and second_step\(\)"),
        (lambda: None, "GradScaler takes no closures"),
    ):
        scaler.scale(loss(params, 0)).backward()
        with pytest.raises(ClosureError, match=text):
            scaler.step(optimizer, closure)
        optimizer = wrapped("sam", sgd(params))


# batch normalisation -------------------------------------------------------------------------------------------
def network(momentum: float | None = 0.1) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, momentum=momentum),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.InstanceNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm2d(4).eval(),
        nn.Flatten(),
        nn.Linear(4 * 9, 1),
    )


@each
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("way", ["minimize", "by hand"])
def test_running_statistics_count_the_first_evaluation_only(name: str, momentum: float | None, way: str) -> None:
    model = network(momentum)
    optimizer = optim_core.create_optimizer(model, "torch:sgd", lr=0.01, wrappers=[name])
    assert optimizer.model is model  # type: ignore[attr-defined]
    settings = [(m.momentum, m.track_running_stats) for m in model if hasattr(m, "momentum")]
    for t in range(3):
        x = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(t))
        once = copy.deepcopy(model)
        once(x)
        drive: Any = {"minimize": minimized, "by hand": by_hand}[way]
        module = globals()
        kept, module["loss"] = module["loss"], lambda *_, x=x: model(x).square().mean()
        try:
            drive(optimizer, [], 0)
        finally:
            module["loss"] = kept
        for (key, got), wanted in zip(model.named_buffers(), once.buffers(), strict=True):
            torch.testing.assert_close(got, wanted, msg=key)
    assert settings == [(m.momentum, m.track_running_stats) for m in model if hasattr(m, "momentum")]


# single methods ------------------------------------------------------------------------------------------------
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
        assert optimizer.terms(optimizer.param_groups[0])["rho"] == pytest.approx(rho)


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
