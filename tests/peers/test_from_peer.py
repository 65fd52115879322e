"""Other libraries' optimizers by their names: what is known of each builds ours, or says what there is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.peers import runner
from support.small import closure, parameters

import optim_core
from optim_core.errors import InvalidOption, NoCounterpart, UnknownName, UnknownOption
from optim_core.peers.tables import Peer, libraries, peers

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

KNOWN = [pytest.param(theirs, id=f"{library}-{theirs.name}") for library in libraries() for theirs in peers(library)]
each = pytest.mark.parametrize("theirs", KNOWN)


@each
def test_each_is_built_or_refused_by_what_is_missing(theirs: Peer) -> None:
    try:
        build = optim_core.from_peer(theirs.library, theirs.name, **runner().needed(theirs))
    except NoCounterpart as none:
        why = theirs.translation.none
        named = any(f" with {option}=" in str(none) for option in theirs.options)
        assert why in str(none) if why else named or "no optimizer" in str(none)  # noqa: PT017 - all three are right
        return
    assert optim_core.info(build.name).kind == "optimizer"
    params = parameters(dtype=torch.float32)
    optimizer = build([(f"layers.{i}.weight", p) for i, p in enumerate(params)])
    before = [p.detach().clone() for p in params]
    optim_core.minimize(optimizer, closure(params, 0))
    optim_core.minimize(optimizer, closure(params, 1))
    assert any(optimizer.state.values()) or not all(map(torch.equal, params, before))


@each
def test_the_line_that_it_prints_builds_the_same(theirs: Peer) -> None:
    try:
        build = optim_core.from_peer(theirs.library, theirs.name, **runner().needed(theirs))
    except NoCounterpart:
        pytest.skip("it has no counterpart")
    params = [(f"layers.{i}.weight", p) for i, p in enumerate(parameters(dtype=torch.float32))]
    line = eval(str(build), {"optim_core": optim_core, "params": params, "inf": float("inf")})  # noqa: S307 - ours
    assert type(line) is type(build(params))
    assert line.defaults == build(params).defaults


def test_names_go_by_class_or_by_the_library_s_own() -> None:
    for name in ("AdamWLegacy", "adamwlegacy", "adamw_legacy"):
        assert optim_core.from_peer("timm", name).name == "adamw"
    assert optim_core.from_peer("pytorch-optimizer", "AdamP").name == "adamp"


def test_their_defaults_count_not_ours() -> None:
    assert optim_core.from_peer("pytorch_optimizer", "DAdaptSGD").options == {"momentum": 0.9}
    assert optim_core.from_peer("timm", "adamp").options == {"wd_ratio": 0.01, "nesterov": True}


def test_a_switch_becomes_a_wrapper() -> None:
    build = optim_core.from_peer("timm", "cadamw", lr=0.01)
    assert build.wrappers == ("cautious",)
    assert str(build) == "optim_core.get_wrapper('cautious')(optim_core.get('adamw')(params, lr=0.01))"
    assert type(build(parameters())).__name__ == "Cautious"


def test_weight_decay_acts_as_theirs_or_is_refused() -> None:
    coupled = optim_core.from_peer("pytorch_optimizer", "Yogi", weight_decay=0.1, weight_decouple=False)
    assert coupled.options["weight_decay"] == 0.1
    assert "decoupled_weight_decay" not in coupled.options
    assert optim_core.from_peer("pytorch_optimizer", "Yogi", weight_decay=0.1).options["decoupled_weight_decay"] is True
    with pytest.raises(NoCounterpart, match="AdaMax with weight_decouple=True has no counterpart: adamax"):
        optim_core.from_peer("pytorch_optimizer", "AdaMax", weight_decay=0.1, weight_decouple=True)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("tim", "adamw"), UnknownName, r"a library 'tim'\. Did you mean 'timm'\? Known are pytorch_optimizer, timm"),
        (("timm", "adamww"), UnknownName, r"timm .* has no optimizer 'adamww'\. Did you mean "),
        (("timm", "fusedlamb"), NoCounterpart, r"FusedLAMB has no counterpart here: .* use lamb"),
        (("timm", "csgdp"), InvalidOption, r"timm's csgdp needs lr=\.\.\.: give it"),
    ],
)
def test_what_is_not_known_is_said_with_what_is_near(arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        optim_core.from_peer(*arguments)


def test_an_option_that_theirs_lacks_is_refused() -> None:
    with pytest.raises(UnknownOption, match=r"Lion has no option 'momentun'.* It takes: lr, betas"):
        optim_core.from_peer("pytorch_optimizer", "Lion", momentun=0.9)


def test_an_option_that_nothing_here_does_is_named() -> None:
    with pytest.raises(NoCounterpart, match=r"Lamb with grad_averaging=False has no counterpart: lamb .* It takes:"):
        optim_core.from_peer("timm", "lamb", grad_averaging=False)
