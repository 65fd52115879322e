"""Plain classes of a stranger's distribution, with what its specs say of them: they go where our own methods go."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest
import torch
from support.fake_packs import Site, error_text, spec
from torch import nn

import optim_core
from optim_core import errors
from optim_core.catalog.specs import ARGUMENTS, WrapperSpec
from optim_core.factory import _PROVIDERS
from optim_core.wrapping import TransformWrapper, offered

CLASSES = '''
import torch


class Theirs(torch.optim.Optimizer):
    """Adam as others write it: other names, the step counted in the group."""

    def __init__(self, params, lr=0.1, beta=0.9, tiny=1e-8, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, beta=beta, tiny=tiny, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            for p in group["params"]:
                v = self.state[p].setdefault("variance", torch.zeros_like(p))
                v.lerp_(p.grad.square(), 1 - group["beta"])
                c = 1 - group["beta"] ** group["step"]
                p.sub_(group["lr"] * p.grad / ((v / c).sqrt() + group["tiny"]))
        return loss


class OfModel(torch.optim.SGD):
    """Takes a model in the place of parameters."""

    def __init__(self, model, lr=0.1):
        self.names = [name for name, _ in model.named_parameters()]
        super().__init__(model.parameters(), lr=lr)


class WithModel(torch.optim.SGD):
    """Takes a model, and pairs, beside parameters."""

    def __init__(self, params, model, pairs, lr=0.1, weight_decay=0.0):
        self.model, self.pairs = model, pairs
        super().__init__(params, lr=lr, weight_decay=weight_decay)


class SAM(torch.optim.Optimizer):
    """SAM as its first PyTorch implementation is called and stepped."""

    def __init__(self, params, base_optimizer, rho=0.05, adaptive=False, **kwargs):
        super().__init__(params, dict(rho=rho, adaptive=adaptive, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        params = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in params]).norm()
        for p in params:
            self.state[p]["old"] = p.clone()
            p.add_(p.grad * self.param_groups[0]["rho"] / norm)
        self.zero_grad()
        closure()
        for p in params:
            p.copy_(self.state[p]["old"])
        self.base_optimizer.step()


class Around(torch.optim.SGD):
    """A wrapper around a finished optimizer that takes the model, under a name of its own."""

    def __init__(self, optimizer, net, k=2):
        self.inner, self.net, self.k = optimizer, net, k
        super().__init__(optimizer.param_groups, lr=0.1)
'''

OFFERS = """
from optim_core.rules import root, second_moment


def names(variance, *, beta, tiny, step):
    c = 1 - beta**step
    root(second_moment(variance, c), tiny, c)


def asks(variance, *, nothing):
    pass


def wrong_state(exp_avg_sq, *, tiny):
    root(second_moment(exp_avg_sq), tiny)


def fails(variance):
    raise ValueError("oh")
"""


@pytest.fixture
def theirs(site: Site) -> Site:
    """A distribution with the classes above."""

    def at(name: str) -> str:
        return f"fake_theirs_optim.classes:{name}"

    def adam(name: str, offers: str, cls: str = "Theirs") -> Any:
        return spec(name, target=at(cls), state={"variance": "element"}, offers=f"fake_theirs_optim.offers:{offers}")

    # one class has one set of offers: those that are wrong are of classes derived from it
    classes = CLASSES + "\n".join(f"class {n}(Theirs): pass" for n in ("Asks", "WrongState", "Fails", "Missing"))
    site.install(
        "theirs",
        adam("their_adam", "names"),
        adam("asks", "asks", "Asks"),
        adam("wrong_state", "wrong_state", "WrongState"),
        adam("fails", "fails", "Fails"),
        adam("missing", "missing", "Missing"),
        spec("of_model", target=at("OfModel"), arguments={"model": "model"}),
        spec("with_model", target=at("WithModel"), arguments={"model": "model", "pairs": "named_parameters"}),
        WrapperSpec(name="their_sam", target=at("SAM"), summary="SAM.", license="MIT", base="params_and_class",
                    needs=("closure", "gradients")),
        WrapperSpec(name="around", target=at("Around"), summary="A.", license="MIT", arguments={"net": "model"}),
        modules={"classes": classes, "offers": OFFERS},
    )  # fmt: skip
    return site


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def squares(model: nn.Module) -> torch.Tensor:
    return sum((p.square().sum() for p in model.parameters()), torch.zeros(()))


def test_every_argument_that_a_spec_may_name_has_its_source():
    assert set(ARGUMENTS) == set(_PROVIDERS)


# what it divides by ---------------------------------------------------------------------------------------------
def test_softplus_and_stablewd_go_by_what_a_spec_offers(theirs):
    from optim_core_wrappers.softplus import SoftplusDenominator
    from optim_core_wrappers.stablewd import StableWeightDecay

    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    cls = optim_core.get("their_adam")
    ours = SoftplusDenominator(cls([w], lr=0.1), denominator="debiased", beta_softplus=2.0)
    ours.minimize(lambda: w @ torch.tensor([1.0, 0.5]))
    for got, start, g in zip(w.tolist(), (1.0, 2.0), (1.0, 0.5), strict=True):
        assert got == pytest.approx(start - 0.1 * g / (math.log1p(math.exp(2 * g)) / 2), rel=1e-5)

    w = nn.Parameter(torch.tensor([4.0, 4.0]))
    decayed = StableWeightDecay(cls([w], lr=0.1), weight_decay=0.5)
    decayed.minimize(lambda: w @ torch.tensor([2.0, 2.0]))
    assert w.tolist() == pytest.approx([4 * (1 - 0.1 * 0.5 / 2) - 0.1] * 2, rel=1e-5)


def test_offers_are_those_of_the_nearest_base(theirs):
    cls = type("Own", (optim_core.get("their_adam"),), {})
    assert len(offered(cls, {"lr": 0.1, "beta": 0.9, "tiny": 1e-8}).denominators) == 1
    assert not offered(optim_core.get("of_model"), {"lr": 0.1, "momentum": 0.9, "dampening": 0.0}).denominators


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("asks", errors.SpecError, "asks for 'nothing', which is no entry of its parameter groups"),
        ("fails", errors.SpecError, "ValueError: oh"),
        ("missing", errors.PackBroken, "'theirs:missing': what it divides by cannot be told"),
    ],
)
def test_offers_that_do_not_fit(theirs, name, error, told):
    from optim_core_wrappers.softplus import SoftplusDenominator

    optimizer = optim_core.get(name)([nn.Parameter(torch.ones(2))])
    text = error_text(error, SoftplusDenominator, optimizer)
    assert told in text
    assert f"fake_theirs_optim.offers:{name}" in text


def test_offers_of_a_state_that_is_not_kept(theirs):
    from optim_core_wrappers.softplus import SoftplusDenominator

    w = nn.Parameter(torch.ones(2))
    optimizer = SoftplusDenominator(optim_core.get("wrong_state")([w]))
    text = error_text(errors.SpecError, optimizer.minimize, w.sum)
    assert "a state 'exp_avg_sq' of the parameter's shape (2,)" in text
    assert "the optimizer keeps variance (2,)" in text


def test_a_message_names_strangers_methods_that_work(theirs):
    from optim_core_wrappers.softplus import SoftplusDenominator

    text = error_text(errors.NotOffered, SoftplusDenominator, torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1))
    assert "Methods that have one: their_adam, " in text


# what it keeps --------------------------------------------------------------------------------------------------
def test_explain_tells_the_state_before_the_first_step(theirs):
    model = net()
    optimizer = optim_core.create_optimizer(model, "their_adam", weight_decay=0.1)
    before = optim_core.explain(optimizer)
    optim_core.minimize(optimizer, lambda: squares(model))
    after = optim_core.explain(optimizer)
    assert [row.state_bytes for row in before] == [row.state_bytes for row in after] == [24, 8, 8, 8]
    assert {row.engine for row in after} == {"Theirs's own"}
    no_decay = "no decay: biases and parameters of normalisation layers"
    assert [row.decay for row in after] == ["0.1, as Theirs applies it", *[no_decay] * 3]


# arguments ------------------------------------------------------------------------------------------------------
def test_create_optimizer_gives_the_model(theirs):
    model = net()
    of_model: Any = optim_core.create_optimizer(model, "of_model", lr=0.2)
    assert of_model.names == [name for name, _ in model.named_parameters()]
    assert of_model.param_groups[0]["lr"] == 0.2
    beside: Any = optim_core.create_optimizer(model, "with_model", weight_decay=0.1)
    assert beside.model is model
    assert [name for name, _ in beside.pairs] == [name for name, _ in model.named_parameters()]
    assert [group["weight_decay"] for group in beside.param_groups] == [0.1, 0.0]
    around: Any = optim_core.create_optimizer(model, "with_model", wrappers=[("around", {"k": 3})])
    assert around.net is model
    assert around.k == 3


def test_what_takes_a_model_needs_it(theirs):
    text = error_text(errors.InvalidOption, optim_core.create_optimizer, net().parameters(), "of_model")
    assert text == "OfModel takes model: give create_optimizer the model, not its parameters"
    text = error_text(errors.InvalidOption, optim_core.create_optimizer, net(), "of_model", no_decay=lambda *_: True)
    assert "no_decay" in text


@pytest.mark.parametrize("name", ["their_adam", "torch:adamw", "of_model"])
def test_an_option_that_a_plain_class_does_not_have(theirs, name):
    text = error_text(errors.UnknownOption, optim_core.create_optimizer, net(), name, lrr=0.1)
    assert "has no option 'lrr'. Did you mean 'lr'" in text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"arguments": {"model": "modell"}}, "arguments['model']='modell' should be one of model, named_parameters"),
        ({"arguments": {"a b": "model"}}, "arguments='a b' should be the name of an argument"),
        ({"arguments": ["model"]}, "arguments=['model'] should be one of model, named_parameters for each name"),
        ({"offers": "acme.offers"}, "offers='acme.offers' should be 'module:function'"),
    ],
)
def test_adapters_of_another_form(fields, told):
    assert told in error_text(errors.SpecError, spec, "a", **fields)


def test_a_base_of_another_form():
    fields = {"name": "a", "target": "b:C", "summary": "S.", "license": "MIT", "base": "class"}
    text = error_text(errors.SpecError, WrapperSpec, **fields)
    assert "base='class' should be one of optimizer, params_and_class" in text


# around (params, base) ------------------------------------------------------------------------------------------
def test_a_wrapper_of_parameters_and_a_class_goes_around_an_optimizer(theirs):
    model, twin = net(), net()
    sam: Any = optim_core.create_optimizer(model, "torch:sgd", lr=0.1, wrappers=[("their_sam", {"rho": 0.1})])
    scheduler = torch.optim.lr_scheduler.StepLR(sam, 1, 0.5)
    loss = optim_core.minimize(sam, lambda: squares(model))
    assert loss.item() == pytest.approx(squares(twin).item())
    scheduler.step()
    assert sam.base_optimizer.param_groups[0]["lr"] == 0.05
    norm = torch.stack([(2 * p).norm() for p in twin.parameters()]).norm()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        higher = q + 2 * q * 0.1 / norm
        torch.testing.assert_close(p, q - 0.1 * 2 * higher)


def test_it_shows_the_options_that_users_give(theirs):
    from optim_core.cli.options import options_of

    assert [option.name for option in options_of(optim_core.get_wrapper("their_sam"))] == ["rho", "adaptive", "kwargs"]
    assert optim_core.get_wrapper("their_sam").__name__ == "SAM"
    assert optim_core.find(kind="wrapper", needs="gradients")[0].name == "their_sam"


def test_it_refuses_what_is_no_optimizer(theirs):
    text = error_text(errors.WrapperConflict, optim_core.get_wrapper("their_sam"), net().parameters())
    assert "SAM goes around an optimizer, not generator" in text


def test_our_wrappers_refuse_it_with_a_reason(theirs):
    w = nn.Parameter(torch.ones(2))
    sam = optim_core.get_wrapper("their_sam")(torch.optim.SGD([w], lr=0.1))
    with pytest.raises(errors.WrapperConflict, match="evaluates the loss inside its own step"):
        TransformWrapper(sam)


# all else -------------------------------------------------------------------------------------------------------
def test_specs_with_adapters_are_plain_data(theirs):
    for found in optim_core.find(pack="theirs"):
        assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own
        assert json.loads(json.dumps(found.as_dict()))["name"] == found.name
        hash(found)


def test_compare_trains_plain_classes(theirs):
    from optim_core.compare.build import build, default_lrs, minimize, needs, resolve
    from optim_core.compare.contender import parse

    model = net()
    for text in ("their_adam", "of_model", "with_model", "their_adam+their_sam,rho=0.1"):
        contender = resolve(parse(text))
        assert default_lrs(contender, 3) == (0.01, 0.1, 1.0)
        assert ("gradients" in needs(contender)) is ("sam" in text)
        start = squares(model).item()
        minimize(build(contender, model, 0.01), lambda: squares(model))
        assert squares(model).item() < start


def test_the_policy_judges_plain_classes(theirs):
    optim_core.licenses.policy(allow="Apache-2.0")
    for name in ("their_adam", "of_model"):
        error_text(errors.LicenseNotAllowed, optim_core.create_optimizer, net(), name)
    error_text(errors.LicenseNotAllowed, optim_core.get_wrapper, "their_sam")
