"""Methods that are each wrong in one way: one check finds it and names the fault, and no other check complains."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from support.fake_packs import Site, spec

import optim_core
from optim_core import RuleOptimizer, extra, hyper, state
from optim_core.rules import Value, lerp
from optim_core.testing import check_optimizer, check_pack


class DecaysTwice(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.mul_(1 - group["lr"] * group["weight_decay"])
        super().step()
        return loss


class OverwritesGradients(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.mul_(0.5)
        super().step()
        return loss


class Momentum(RuleOptimizer):
    """Nothing is wrong with it."""

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-2, 1.0))
    beta: float = hyper(0.9, "decay of the average", ge=0, lt=1)

    exp_avg = state("average of g")

    @staticmethod
    def rule(p: Value, g: Value, exp_avg: Value, *, lr: Value, beta: Value) -> tuple[Value, ...]:
        exp_avg = lerp(g, exp_avg, beta)
        return p - lr * exp_avg, exp_avg


class IgnoresAnOption(Momentum):
    damping: float = hyper(0.1, "does nothing", ge=0)


class SwapsTwoStates(Momentum):
    exp_avg_sq = state("average of g squared")

    @staticmethod
    def rule(p: Value, g: Value, exp_avg: Value, exp_avg_sq: Value, *, lr: Value, beta: Value) -> tuple[Value, ...]:
        m, v = lerp(g, exp_avg, beta), lerp(g * g, exp_avg_sq, 0.99)
        return p - 0.1 * lr * m / (1 + abs(v)), v, m


class HidesRandomness(Momentum):
    @staticmethod
    def rule(p: Value, g: Value, exp_avg: Value, *, lr: Value, beta: Value) -> tuple[Value, ...]:
        exp_avg = lerp(g, exp_avg, beta)
        return p - lr * (0.9 + 0.1 * random.random()) * exp_avg, exp_avg  # noqa: S311 - it is the fault


class KeepsItsDraws(torch.optim.SGD):
    """Estimates the Hessian's diagonal by draws from a generator of its own, which no checkpoint holds."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)
        self.param_groups[0]["draws"] = torch.Generator().manual_seed(0)

    def state_dict(self) -> Any:
        kept = super().state_dict()
        kept["param_groups"] = [{**group, "draws": None} for group in kept["param_groups"]]
        return kept

    def load_state_dict(self, state: Any) -> None:
        draws = self.param_groups[0]["draws"]
        super().load_state_dict(state)
        self.param_groups[0]["draws"] = draws

    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        signs = [(torch.rand(p.shape, generator=self.param_groups[0]["draws"]) > 0.5).to(p) * 2 - 1 for p in params]
        products = torch.autograd.grad([p.grad for p in params], params, signs)
        with torch.no_grad():
            for p, sign, product in zip(params, signs, products, strict=True):
                p.sub_(self.param_groups[0]["lr"] * p.grad / (sign * product).abs().clamp(min=1))
        return loss


class NeedsAGraph(torch.optim.SGD):
    """Differentiates the gradients and does not say so."""

    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
            params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
            slopes = torch.autograd.grad([p.grad.sum() for p in params], params)
        with torch.no_grad():
            for p, slope in zip(params, slopes, strict=True):
                p.sub_(0.01 * p.grad / slope.abs().clamp(min=1))
        return loss


class AsksForAGraphInVain(Momentum):
    needs = frozenset({"create_graph"})

    slope = extra("nothing")

    @staticmethod
    def rule(p: Value, g: Value, exp_avg: Value, slope: Value, *, lr: Value, beta: Value) -> tuple[Value, ...]:
        return Momentum.rule(p, g, exp_avg, lr=lr, beta=beta)

    def extras(self, params: Any) -> Any:
        return {}

    def checked_extras(self, params: Any) -> Any:  # the base's would miss the graph
        return {}


def failures(cls: Any, options: Any = None) -> dict[str, str]:
    return {o.check: o.text for o in check_optimizer(cls, options, on_fail="report").failures}


def test_nothing_is_wrong_with_the_base_of_the_wrong_ones() -> None:
    assert failures(Momentum) == {}
    assert failures(torch.optim.SGD, {"lr": 0.1}) == {}


def test_decays_twice() -> None:
    found = failures(DecaysTwice, {"lr": 0.1})
    assert [*found] == ["check_decay_acts_once"]
    assert "weight_decay acts in the gradient and on the parameter" in found["check_decay_acts_once"]


def test_overwrites_gradients() -> None:
    found = failures(OverwritesGradients, {"lr": 0.1})
    assert [*found] == ["check_leaves_gradients_alone"]
    assert "step() overwrites the gradient of the parameter of shape (3, 4)" in found["check_leaves_gradients_alone"]


def test_ignores_an_option() -> None:
    found = failures(IgnoresAnOption)
    assert [*found] == ["check_every_option_has_an_effect"]
    assert "the option damping has no effect on any step" in found["check_every_option_has_an_effect"]


def test_swaps_two_states() -> None:
    found = failures(SwapsTwoStates)
    assert [*found] == ["check_states_come_back_in_their_order"]
    assert "exp_avg and exp_avg_sq are swapped" in found["check_states_come_back_in_their_order"]


def test_hides_randomness() -> None:
    found = failures(HidesRandomness)
    assert "does not leave the same graph twice" in found["check_rule_is_traced_the_same_twice"]
    assert "something random is hidden in it" in found["check_same_seed_same_steps"]


def test_draws_that_no_checkpoint_holds(site: Site) -> None:
    # whatever signs are drawn, they estimate a diagonal Hessian exactly: elements have to interact
    optim_core.register(KeepsItsDraws, license="MIT", needs=("create_graph",))
    found = failures(KeepsItsDraws)["check_resumes_bit_for_bit"]
    assert "after loading its checkpoint, step 1 leads elsewhere" in found


def test_lies_on_its_needs() -> None:
    found = failures(NeedsAGraph, {"lr": 0.1})
    assert "loss.backward(create_graph=True)" in found["check_every_need_is_declared"]
    assert "it needs 'create_graph' (differentiates the gradients" in found["check_every_need_is_declared"]
    assert set(found) == {"check_takes_a_step", "check_every_need_is_declared"}
    found = failures(AsksForAGraphInVain)
    assert [*found] == ["check_every_declared_need_is_real"]
    assert "to need 'create_graph', and does as well without" in found["check_every_declared_need_is_real"]


# what a pack says ----------------------------------------------------------------------------------------------
SOURCE = '''
from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import lerp

class Momentum(RuleOptimizer):
    """An average of gradients."""

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-2, 1.0))
    beta: float = hyper(0.9, "decay of the average", ge=0, lt=1)

    exp_avg = state("average of g")

    @staticmethod
    def rule(p, g, exp_avg, *, lr, beta):
        """The update."""
        exp_avg = lerp(g, exp_avg, beta)
        return p - lr * exp_avg, exp_avg
'''


def told(site: Site, *, tag: str = "MIT", licence: str = "MIT", manifest: str | None = None, **fields: Any) -> Any:
    """The failures of a pack with one method, by their checks."""
    source = f"# SPDX-License-Identifier: {tag}\n{SOURCE}"
    fields = {"target": "fake_acme_optim.momentum:Momentum", "state": {"exp_avg": "element"}, **fields}
    site.install("acme", spec("acme_momentum", **fields), manifest=manifest, licence=licence,
                 modules={"momentum": source})  # fmt: skip
    return {o.check: o.text for o in check_pack("acme", on_fail="report").failures}


def test_a_true_pack(site: Site) -> None:
    assert told(site) == {}


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({}, "keeps 1 numbers of 'exp_avg', the spec says 0"),
        ({"exp_avg": "row"}, "of shape (3, 4) it keeps 12 numbers of 'exp_avg', the spec says 3"),
        ({"exp_avg": "element", "exp_avg_sq": "element"}, "it keeps 0 numbers of 'exp_avg_sq', the spec says"),
        ({"exp_avg": "element", "d": "whole"}, "it keeps [] for the whole model, the spec says ['d']"),
    ],
)
def test_lies_on_its_state(site: Site, state: Any, text: str) -> None:
    found = told(site, state=state)
    assert [*found] == ["check_state_is_what_the_spec_says"]
    assert text in found["check_state_is_what_the_spec_says"]


def test_lies_on_its_licence(site: Site) -> None:
    found = told(site, tag="GPL-3.0-only")
    assert [*found] == ["check_licence_is_the_same_everywhere"]
    assert (
        "the spec says MIT, the source momentum.py says GPL-3.0-only" in found["check_licence_is_the_same_everywhere"]
    )


def test_needs_that_the_class_does_not_have(site: Site) -> None:
    found = told(site, needs=("closure",))
    assert "the spec says that it needs ['closure'], the class []" in found["check_spec_and_class_agree_on_needs"]
    assert "to need 'closure', and does as well without" in found["check_every_declared_need_is_real"]


def test_a_first_party_name(site: Site) -> None:
    found = told(site, aliases=("lion",))
    assert [*found] == ["check_names_are_free"]
    assert "'lion' is the name of 'lion' in the first-party pack 'sign'" in found["check_names_are_free"]


def test_a_dead_target(site: Site) -> None:
    found = told(site, target="fake_acme_optim.momentum:Momentun")
    assert [*found] == ["check_target_is_what_its_kind_says"]
    assert "Momentun" in found["check_target_is_what_its_kind_says"]


def test_a_target_of_another_kind(site: Site) -> None:
    found = told(site, target="torch.optim.lr_scheduler:StepLR", state={})
    assert "torch.optim.lr_scheduler:StepLR is no Optimizer" in found["check_target_is_what_its_kind_says"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("import torch", "importing fake_acme_optim.pack imports torch"),
        ("print('hello')", "importing fake_acme_optim.pack prints 'hello'"),
        ("sum(range(10**7))", "importing fake_acme_optim.pack takes "),
    ],
)
def test_a_heavy_manifest(site: Site, line: str, fault: str) -> None:
    from support.fake_packs import manifest_text

    text = manifest_text(
        spec("acme_momentum", target="fake_acme_optim.momentum:Momentum", state={"exp_avg": "element"})
    )
    found = told(site, manifest=f"{line}\n{text}")
    assert [*found] == ["check_manifest_is_light"]
    assert fault in found["check_manifest_is_light"]
