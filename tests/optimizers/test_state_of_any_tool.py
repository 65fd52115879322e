"""The state of every optimizer and wrapper is plain: any tool carries it, and training resumes from it to the bit."""

from __future__ import annotations

import copy
import functools
import typing
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import optimizers, wrappers
from support.small import copies, equal, reloaded
from support.wrappers import around
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

import optim_core
from optim_core.catalog.specs import Spec
from optim_core.errors import InvalidOption, WrapperConflict

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

STEPS = 3


class Net(nn.Module):
    """Two layers; between them rotations for two tasks, if there are any."""

    def __init__(self, rotations: Callable[[], nn.Module] | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)
        self.rotations = None if rotations is None else rotations()
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.copy_(torch.sin(torch.arange(p.numel()) + i + 0.5).reshape(p.shape))

    def losses(self, t: int) -> list[Tensor]:
        """Those of batch t, one for each of two tasks."""
        x = torch.cos(torch.arange(20.0) + t).reshape(5, 4)
        z = torch.tanh(self.first(x))
        both = [z, z] if self.rotations is None else self.rotations(z)
        return [(self.second(z) - k).square().mean() for k, z in enumerate(both)]


def setup(build: Callable[[Any, nn.Module], Any], spec: Spec) -> tuple[Net, Any, Callable[[int], Any]]:
    """A model, its optimizer, and the loss or losses of a batch."""
    torch.manual_seed(0)
    cls: Any = optim_core.get_wrapper(spec.name) if spec.kind == "wrapper" else None
    kinds: list[Any] = [None]
    if cls is not None and "rotations" in cls.arguments:
        made = functools.partial(typing.get_type_hints(cls)["rotations"], tasks=2, size=3)
        kinds = [made, functools.partial(made, weighted=True)]
    for rotations in kinds:
        model = Net(rotations)
        try:
            optimizer = build(list(model.named_parameters()), model)
            break
        except InvalidOption:  # it wants weights for the tasks
            continue
        except WrapperConflict as conflict:
            pytest.skip(str(conflict))
    several = "multi_loss" in spec.needs
    return model, optimizer, lambda t: model.losses(t) if several else torch.stack(model.losses(t)).sum()


def cases() -> list[Any]:
    """Every optimizer, and every wrapper around bases of torch and of a rule."""
    found = []
    for spec in optimizers():
        options = {"total_steps": 20} if "total_steps" in spec.needs else {}

        def alone(named: Any, model: nn.Module, spec: Spec = spec, options: Any = options) -> Any:
            return optim_core.get(spec.name)(named, **options)

        found.append(pytest.param(alone, spec, id=spec.name))
    bases: dict[str, Callable[[Any], Any]] = {
        "torch.SGD": lambda named: torch.optim.SGD(named, lr=0.01),
        "torch.AdamW": lambda named: torch.optim.AdamW(named, lr=0.01),
        "sgd": lambda named: optim_core.get("sgd")(named, lr=0.01, momentum=0.9),
        "prodigy": optim_core.get("prodigy"),
    }
    for spec in wrappers():
        for name, base in bases.items():

            def wrapped(named: Any, model: nn.Module, spec: Spec = spec, base: Any = base) -> Any:
                return around(base(named), spec.name, within=model)

            found.append(pytest.param(wrapped, spec, id=f"{spec.name} {name}"))
    return found


each = pytest.mark.parametrize(("build", "spec"), cases())


@each
def test_states_are_tensors_and_numbers_under_flat_names(build: Any, spec: Spec) -> None:
    _, optimizer, loss = setup(build, spec)
    for t in range(STEPS):
        optim_core.minimize(optimizer, lambda t=t: loss(t))
    assert set(optimizer.state_dict()) == {"state", "param_groups"}
    for p, entry in optimizer.state.items():
        assert isinstance(p, Tensor)
        assert all(isinstance(name, str) for name in entry)
        assert all(isinstance(x, (Tensor, int, float)) or x is None for x in entry.values())
    layers = optimizer.param_groups[0].get("layers", [])
    assert [name for name, _ in layers[1:]] == ([type(optimizer).__name__] if spec.kind == "wrapper" else [])


@each
@pytest.mark.parametrize("flat", [False, True])
def test_torch_distributed_checkpoint_resumes_to_the_bit(build: Any, spec: Spec, flat: bool) -> None:
    model, optimizer, loss = setup(build, spec)
    for t in range(STEPS):
        optim_core.minimize(optimizer, lambda t=t: loss(t))
    form = StateDictOptions(flatten_optimizer_state_dict=flat)
    saved = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=form))
    other, resumed, other_loss = setup(build, spec)
    before = copies(other.parameters())
    set_optimizer_state_dict(other, resumed, reloaded(saved), options=form)
    assert equal(other.parameters(), before)
    other.load_state_dict(model.state_dict())
    for t in range(STEPS, 2 * STEPS):
        optim_core.minimize(optimizer, lambda t=t: loss(t))
        optim_core.minimize(resumed, lambda t=t: other_loss(t))
        assert equal(model.parameters(), other.parameters())
    again = get_optimizer_state_dict(other, resumed)["state"]
    if any(resumed.state.values()):  # torch's SGD without momentum has none
        assert sorted(again) == sorted(n for n, _ in model.named_parameters())


@each
def test_a_bare_first_step_begins_and_moves_nothing(build: Any, spec: Spec) -> None:
    model, optimizer, loss = setup(build, spec)
    other, begun, other_loss = setup(build, spec)
    before = copies(other.parameters())
    get_optimizer_state_dict(other, begun)
    assert equal(other.parameters(), before)
    with torch.no_grad():  # what a checkpoint of the model would do
        for p in (*model.parameters(), *other.parameters()):
            p.mul_(0.5)
    for t in range(STEPS):
        optim_core.minimize(optimizer, lambda t=t: loss(t))
        optim_core.minimize(begun, lambda t=t: other_loss(t))
        if spec.kind != "wrapper" or not isinstance(begun.innermost, torch.optim.Adam):  # it counts that step
            assert equal(model.parameters(), other.parameters())
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert {name for name, x in optimizer.state.get(p, {}).items() if x is not None} <= set(begun.state.get(q, {}))
