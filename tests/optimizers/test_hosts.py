"""What stands between a training loop and an optimizer: proxies of hosts, hooks, torch.compile."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import methods, small
from support.wrappers import around, base_only_specs
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.catalog.specs import Spec
from optim_core.errors import ClosureError
from optim_core.optimizers import hosts
from optim_core.optimizers.needs import needs_of

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

ALL = optim_core.find()
OPTIMIZERS = methods.optimizers(without=("total_steps",))


class Delegating:
    """A proxy as Lightning's is one: its class is derived from the optimizer's, and its step goes by way of a host."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._strategy = self
        self.steps = 0
        self.backwards = 0
        self.__class__ = type("Proxy", (type(self), type(optimizer)), {})

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        return self._optimizer.step(closure or (lambda: None))

    def backward(self, loss: torch.Tensor, optimizer: None, **how: Any) -> None:
        self.backwards += 1
        loss.backward(**how)  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


class Window(Optimizer):
    """A proxy as accelerate's is one: it lets every n-th step through, and may have a scaler."""

    def __init__(self, optimizer: Optimizer, *, num_steps: int = 1, scaler: Any = None) -> None:
        self.optimizer = optimizer
        self.gradient_state = self
        self.num_steps = num_steps
        self.scaler = scaler
        self.sync = num_steps == 1

    state = property(lambda self: self.optimizer.state)
    param_groups = property(lambda self: self.optimizer.param_groups)

    def step(self, closure: Any = None) -> None:
        if self.sync and self.scaler is not None:
            self.scaler.step(self.optimizer, closure)
            self.scaler.update()
        elif self.sync:
            self.optimizer.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self.sync:
            self.optimizer.zero_grad(set_to_none)


# declarations --------------------------------------------------------------------------------------------------
def library_classes(cls: type) -> Iterator[type]:
    return (one for one in cls.__mro__ if not one.__module__.startswith("torch") and one is not object)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_no_declaration_hides_what_a_proxy_delegates(spec: Spec) -> None:
    """What a class only declares, and what its instances have of their own, is no attribute of the class."""
    cls: Any = load_class(spec)
    for one in library_classes(cls):
        declared = {*inspect.get_annotations(one), *getattr(cls, "hypers", {}), *getattr(cls, "arguments", ())}
        for name in declared & vars(one).keys():
            annotation = str(inspect.get_annotations(one).get(name, ""))
            value = vars(one)[name]
            assert "ClassVar" in annotation or hasattr(value, "__get__"), f"{one.__name__}.{name} = {value!r}"


def instances() -> Iterator[tuple[str, Any]]:
    for spec in OPTIMIZERS:
        yield spec.name, lambda params, name=spec.name: optim_core.get(name)(params)
    for spec in base_only_specs():
        yield spec.name, lambda params, name=spec.name: around(optim_core.get("adam")(params), name)


@pytest.mark.parametrize("make", [make for _, make in instances()], ids=[name for name, _ in instances()])
def test_a_proxy_shows_what_the_optimizer_has(make: Any) -> None:
    optimizer = make(small.named(small.parameters()))
    hidden = [name for name in vars(optimizer) if name in dir(type(optimizer))]
    assert [n for n in hidden if not hasattr(inspect.getattr_static(type(optimizer), n), "__get__")] == []


# minimize through proxies --------------------------------------------------------------------------------------
def closure_of(optimizer: Any, params: Any, t: int) -> Any:
    if "multi_loss" in needs_of(optimizer):
        return lambda: [small.loss(params, t), small.loss(params, t + 1)]
    return small.closure(params, t)


@pytest.mark.parametrize("entry", ["function", "method"])
@pytest.mark.parametrize("proxy", [Delegating, Window])
@pytest.mark.parametrize("make", [make for _, make in instances()], ids=[name for name, _ in instances()])
def test_minimize_through_a_proxy(make: Any, proxy: Any, entry: str) -> None:
    if proxy is Window and entry == "method":
        pytest.skip("accelerate's class is its own")
    ends, losses = [], []
    for wrap in (lambda optimizer: optimizer, proxy):
        torch.manual_seed(0)
        params = small.parameters()
        optimizer = make(small.named(params))
        seen = wrap(optimizer)
        for t in range(3):
            closure = closure_of(optimizer, params, t)
            losses.append(seen.minimize(closure) if entry == "method" else optim_core.minimize(seen, closure))
        ends.append(params)
    assert small.equal(*ends)
    assert losses[:3] == losses[3:]
    if proxy is Delegating:
        assert seen.steps == 3
        assert seen.backwards >= 3 or "multi_loss" in needs_of(optimizer) or optimizer.estimates


def mean_of_two(params: Any, t: int) -> Any:
    return lambda: (small.loss(params, t) + small.loss(params, t + 1)) / 2


@pytest.mark.parametrize("scaled", [False, True])
def test_windows_of_a_host_are_steps_on_the_mean(scaled: bool) -> None:
    ends = []
    for num_steps in (1, 2):
        params = small.parameters()
        optimizer = around(optim_core.get("adamw")(params, lr=0.1), "lookahead", k=2)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
        proxy = Window(optimizer, num_steps=num_steps, scaler=scaler)
        for t in range(0, 8, 2):
            if num_steps == 1:
                optim_core.minimize(proxy, mean_of_two(params, t))
                continue
            for k in (t, t + 1):
                proxy.sync = k > t
                before = small.copies(params)
                optim_core.minimize(proxy, small.closure(params, k))
                assert small.equal(params, before) is not proxy.sync
        ends.append(params)
    small.assert_close(*ends, tolerance=1e-6)


@pytest.mark.parametrize("name", [s.name for s in OPTIMIZERS if "closure" in s.needs])
def test_what_a_window_cannot_do_is_refused(name: str) -> None:
    params = small.parameters()
    before = small.copies(params)
    for options in ({"num_steps": 2}, {"scaler": torch.amp.GradScaler("cpu")}):
        proxy = Window(optim_core.get(name)(params), **options)
        with pytest.raises(ClosureError, match=r"the host (accumulates|scales).*yield the loss of each micro-batch"):
            optim_core.minimize(proxy, small.closure(params))
    assert small.equal(params, before)
    optim_core.minimize(Window(optim_core.get(name)(params)), lambda: (small.loss(params) / 2 for _ in range(2)))


@pytest.mark.parametrize("name", [s.name for s in ALL if s.kind != "scheduler" and "closure" in s.needs])
def test_a_closure_that_does_nothing_is_no_evaluation(name: str) -> None:
    params = small.parameters()
    wraps = name in {spec.name for spec in methods.wrappers()}
    base = optim_core.get("sgd" if wraps else name)(small.named(params), lr=0.1)
    proxy: Any = Delegating(around(base, name) if wraps else base)
    small.loss(params).backward()
    before = small.copies(params)
    with pytest.raises(ClosureError, match=r"closure of step\(closure\) does nothing: use optim_core\.minimize"):
        proxy.step()
    assert small.equal(params, before)
    optim_core.minimize(proxy, small.closure(params))


@pytest.mark.parametrize("name", methods.two_step_wrappers())
def test_both_halves_of_a_step_through_a_proxy(name: str) -> None:
    ends = []
    for wrap in (lambda optimizer: optimizer, Delegating):
        params = small.parameters()
        optimizer = around(optim_core.get("sgd")(small.named(params), lr=0.1), name)
        seen: Any = wrap(optimizer)
        for t in range(3):
            optimizer.zero_grad()
            small.loss(params, t).backward()
            if seen.first_step():
                small.loss(params, t).backward()
            optimizer.second_step()
            assert seen.stepped
        ends.append(params)
    assert small.equal(*ends)


def test_what_is_no_proxy() -> None:
    optimizer = optim_core.get("adam")(small.parameters())
    assert hosts.behind(optimizer) is None
    assert hosts.hosted(Window(Delegating(optimizer))) is optimizer  # type: ignore[arg-type]


# hooks ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [make for _, make in instances()], ids=[name for name, _ in instances()])
def test_hooks_see_one_step_with_its_gradients(make: Any) -> None:
    params = small.parameters()
    optimizer = make(small.named(params))
    seen: list[tuple[str, Any, bool]] = []

    def hook(kind: str) -> Any:
        return lambda _, args, kwargs: seen.append((kind, (args[1:], kwargs), params[0].grad is not None))

    optimizer.register_step_pre_hook(hook("before"))
    optimizer.register_step_post_hook(hook("after"))
    whole = register_optimizer_step_pre_hook(
        lambda which, *_: seen.append(("everywhere", None, params[0].grad is not None)) if which is optimizer else None
    )
    try:
        if getattr(type(optimizer), "accumulates", False):
            optimizer.options["steps"] = 1
        optimizer.minimize(closure_of(optimizer, params, 0))
    finally:
        whole.remove()
    assert [kind for kind, _, _ in seen] == ["everywhere", "before", "after"]
    assert [given for kind, given, _ in seen if kind != "everywhere"] == [((), {})] * 2
    released = getattr(type(optimizer), "releases", False)  # in the middle of backward
    assert all(has is not released for kind, _, has in seen if kind != "after")


# torch.compile -------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["prodigy", "adamw", "sgd", "shampoo"])
@pytest.mark.parametrize("wraps", [False, True])
def test_a_step_in_a_compiled_function_stays_outside_the_graph(name: str, wraps: bool) -> None:
    counters = torch._dynamo.utils.counters
    ends = []
    for compiles in (False, True):
        params = small.parameters()
        base = optim_core.get(name)(params, lr=0.1)
        optimizer = around(base, "lookahead", k=2) if wraps else base

        def step(x: Any, optimizer: Any = optimizer) -> Any:
            y = x + 1
            optimizer.step()
            return y * 2

        torch._dynamo.reset()
        counters.clear()
        run = torch.compile(step, backend="eager") if compiles else step
        for t in range(10):
            optimizer.param_groups[0]["lr"] = 0.1 / (t + 1)
            optimizer.zero_grad()
            small.loss(params, t).backward()
            run(torch.ones(2))
        assert counters["stats"].get("unique_graphs", 0) == (2 if compiles else 0)
        ends.append(params)
    assert small.equal(*ends)
