"""Which programs have a method too, and how each is started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.small import copies

import optim_core
from benchmarks import (
    contenders,
    peers,
)
from benchmarks.contenders import OURS, TORCH
from benchmarks.shapes import ShapeSet
from optim_core.catalog.specs import OptimizerSpec

TINY = ShapeSet("tiny", layers=1, width=4)


def spec_of(name: str, cls: str, *aliases: str) -> OptimizerSpec:
    return OptimizerSpec(name=name, target=f"x:{cls}", summary="s", license="MIT", aliases=aliases)


def theirs(name: str, module: str = "theirs.module") -> Any:
    return type(name, (torch.optim.SGD,), {"__module__": module})


def test_peers_are_found_by_name_class_or_alias() -> None:
    library = SimpleNamespace(
        AdaBelief=theirs("AdaBelief"), SignSGD=theirs("SignSGD"), Sophia=theirs("Sophia"), AdamW=torch.optim.AdamW, x=1
    )
    found = peers.classes(library, own="theirs")
    assert sorted(found) == ["adabelief", "signsgd", "sophia"]  # AdamW is torch's, passed on
    for spec, expected in {
        spec_of("ada_belief", "Other"): library.AdaBelief,
        spec_of("signum", "SignSGD"): library.SignSGD,
        spec_of("sophiah", "SophiaH", "sophia"): library.Sophia,
        spec_of("lion", "Lion"): None,
    }.items():
        assert peers.peer(spec, found, "theirs") is expected


def test_torch_s_own_classes_are_found() -> None:
    found = peers.classes(torch.optim, own="torch")
    assert peers.peer(spec_of("adamw", "AdamW"), found, TORCH) is torch.optim.AdamW
    assert peers.peer(spec_of("asgd", "ASGD"), found, TORCH) is None  # another method of that name


def test_settings_follow_the_signature() -> None:
    class Needy(torch.optim.SGD):
        def __init__(self, params: Any, num_iterations: int, lr: float = 0.1, fused: bool = False) -> None:
            super().__init__(params, lr)

    assert peers.settings(Needy) == [{"num_iterations": 10_000}, {"num_iterations": 10_000, "fused": True}]
    assert [peers.described(way) for way in peers.settings(torch.optim.AdamW)] == ["single tensor", "foreach", "fused"]


def test_contenders_of_a_method() -> None:
    found = contenders.contenders(optim_core.find("adamw", kind="optimizer")[0], ("eager", "auto"), compiled=False)
    ours = [c.setting for c in found if c.library == OURS]
    assert ours == ["eager", "auto"]
    assert [c.setting for c in found if c.library == TORCH] == ["single tensor", "foreach", "fused"]
    for contender in found:
        params = TINY.parameters()
        before = copies(params)
        contender.start(params).step()
        assert not all(map(torch.equal, before, params))


def test_a_factory_helps_where_a_constructor_wants_more() -> None:
    class Picky(torch.optim.SGD):
        def __init__(self, params: Any, lr: float = 0.5, foreach: bool | None = None) -> None:
            super().__init__(params, lr, foreach=foreach)
            if len(self.param_groups) == 1:
                raise ValueError("matrices and biases, please")

    def create_optimizer(model: Any, name: str, **options: Any) -> Any:
        assert (name, options) == ("picky", {"lr": 0.5, "foreach": True})
        linear = [m for m in model if isinstance(m, torch.nn.Linear)]
        return Picky([{"params": [m.weight for m in linear]}, {"params": [m.bias for m in linear]}], **options)

    params = ShapeSet("two", layers=2, width=3).parameters()
    optimizer = contenders._theirs(SimpleNamespace(create_optimizer=create_optimizer), Picky, {"foreach": True}, params)
    assert [[p.ndim for p in group["params"]] for group in optimizer.param_groups] == [[2, 2], [1, 1]]
    with pytest.raises(ValueError, match="please"):
        contenders._theirs(SimpleNamespace(), Picky, {}, params)


@pytest.mark.parametrize("need", ["create_graph", "loss", "closure", "named_params"])
def test_methods_that_need_more_than_gradients_are_handed_it(need: Any) -> None:
    for spec in optim_core.find(kind="optimizer", needs=need):
        params = TINY.parameters()
        started = contenders.contenders(spec, ("eager",), compiled=False)[0].start(params)
        for _ in range(3):
            started.step()
        assert started.held(params) >= 2 * TINY.numel * 4
