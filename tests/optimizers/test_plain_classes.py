"""Plain torch optimizers that a pack registers: minimize and wrappers give them what their specs say they need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from support.fake_packs import Site, spec
from torch.nn import Parameter

import optim_core
from optim_core.catalog import licenses
from optim_core.errors import NotOffered, WrapperConflict
from optim_core.optimizers import needs_of

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


class Curved(torch.optim.SGD):
    """Differentiates the gradients, as every AdaHessian outside of this library does."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with torch.enable_grad():
            loss = closure() if closure is not None else None
            params = [p for group in self.param_groups for p in group["params"]]
            self.curvature = [torch.autograd.grad(p.grad.sum(), p)[0] for p in params]
        super().step()
        return loss


class Several(torch.optim.SGD):
    """Makes a gradient of several losses itself."""

    def step(self, closure: Callable[[], Any]) -> Any:
        losses = closure()
        sum(losses).backward()
        super().step()
        return losses


class Lossy(torch.optim.SGD):
    """Takes the loss from its closure."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is not None
        self.loss = closure()
        super().step()
        return self.loss


@pytest.fixture
def plain(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The classes above in a pack."""
    module = ModuleType("fake_plain")
    vars(module).update(Curved=Curved, Several=Several, Lossy=Lossy)
    monkeypatch.setitem(sys.modules, "fake_plain", module)
    site.install(
        "plain",
        spec("curved", target="fake_plain:Curved", needs=("create_graph",)),
        spec("several", target="fake_plain:Several", needs=("multi_loss",)),
        spec("lossy", target="fake_plain:Lossy", needs=("loss",)),
        spec("sgd_of_theirs", target="torch.optim:SGD", needs=("create_graph",)),
    )
    return site


def weight() -> Parameter:
    return Parameter(torch.full((2,), 2.0))


@pytest.mark.parametrize("name", ["curved", "several", "lossy"])
def test_needs_are_those_of_the_spec(plain: Site, name: str) -> None:
    assert needs_of(optim_core.get(name)([weight()], lr=0.1)) >= set(optim_core.info(name).needs)


def test_a_class_inherits_needs(plain: Site) -> None:
    assert needs_of(type("Own", (Curved,), {})([weight()], lr=0.1)) == {"create_graph"}


def test_a_pack_says_nothing_about_torch_s_own_classes(plain: Site) -> None:
    assert needs_of(optim_core.get("sgd_of_theirs")([weight()], lr=0.1)) == set()


@pytest.mark.parametrize("parts", [False, True])
def test_minimize_gives_a_graph(plain: Site, parts: bool) -> None:
    w = weight()
    optimizer: Any = optim_core.get("curved")([w], lr=0.1)

    def in_parts() -> Any:
        yield w.pow(3).sum()
        yield w.pow(2).sum()

    optim_core.minimize(optimizer, in_parts if parts else lambda: w.pow(3).sum() + w.pow(2).sum())
    assert optimizer.curvature[0].tolist() == [14.0, 14.0]
    assert w.grad is not None
    assert w.grad.grad_fn is None


def test_minimize_lets_go_of_the_graph_when_the_step_fails(plain: Site) -> None:
    w, v = weight(), weight()
    with pytest.raises(RuntimeError):
        optim_core.minimize(Curved([w, v], lr=0.1), lambda: w.pow(3).sum() + v.sum())
    assert w.grad is not None
    assert w.grad.grad_fn is None


def test_minimize_hands_over_several_losses(plain: Site) -> None:
    w = weight()
    losses = optim_core.minimize(Several([w], lr=0.1), lambda: [w.sum(), 2 * w.sum()])
    assert [loss.item() for loss in losses] == [4.0, 8.0]
    assert w.tolist() == pytest.approx([1.7, 1.7])


def test_minimize_hands_over_the_loss(plain: Site) -> None:
    w = weight()
    optimizer = Lossy([w], lr=0.1)
    optim_core.minimize(optimizer, w.sum)
    assert optimizer.loss.item() == 4.0


def wrapped(name: str, base: Any) -> Any:
    class Outer(optim_core.Wrapper):
        pass

    return Outer(base)


def test_a_wrapper_gives_a_graph(plain: Site) -> None:
    w = weight()
    inner = Curved([w], lr=0.1)
    outer = wrapped("outer", inner)
    assert outer.needs_graph
    outer.minimize(lambda: w.pow(3).sum())
    assert inner.curvature[0].tolist() == [12.0, 12.0]
    assert w.grad is not None
    assert w.grad.grad_fn is None


@pytest.mark.parametrize("cls", [Several, Lossy])
def test_a_wrapper_refuses_what_needs_the_loss_in_its_own_step(plain: Site, cls: type[torch.optim.SGD]) -> None:
    with pytest.raises(WrapperConflict, match=rf"use {cls.__name__} alone, with optim_core\.minimize"):
        wrapped("outer", cls([weight()], lr=0.1))


def test_a_transform_of_gradients_is_refused(plain: Site) -> None:
    from optim_core.rules import Transform

    class Centred(Transform):
        def gradient(self, g: Any, p: Any) -> Any:
            return g - 1

    outer = wrapped("outer", Curved([weight()], lr=0.1))
    with pytest.raises(WrapperConflict, match="Outer cannot go around Curved, which differentiates the gradients"):
        outer.base_steps.add_transform(Centred(), excluded=(), owner="Outer")


def test_messages_of_wrappers_know_plain_classes(plain: Site) -> None:
    from optim_core.rules.offers import Offers
    from optim_core.wrapping.offerings import require

    plain.install("adam", spec("their_adam", target="torch.optim:Adam", license="BSD-3-Clause"))
    plain.install("odd", spec("a_function", target="builtins:print"), spec("exits", target="fake_odd_optim.x:X"),
                  modules={"x": "raise SystemExit(0)"})  # fmt: skip
    plain.install("nc", spec("denied", target="fake_nc_optim.x:X", license="CC-BY-NC-4.0"), licence=None,
                  modules={"x": "raise AssertionError('imported')"})  # fmt: skip
    plain.registry()
    licenses.policy(deny="noncommercial")
    outer = wrapped("outer", torch.optim.SGD([weight()], lr=0.1))

    def divides(offers: Offers) -> bool:
        return bool(offers.denominators)

    with pytest.raises(NotOffered, match=r"Methods that have one: their_adam, .*torch:adam"):
        require(outer, outer.param_groups[0], "a denominator", divides)
    assert "fake_nc_optim.x" not in sys.modules
