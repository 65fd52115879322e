"""What every registered optimizer must withstand, whichever pack it comes from.

The list comes from the registry; what applies to a method follows from its spec and its declarations.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.methods import optimizers
from support.small import closure, copies, equal, finite, pickled, reloaded
from support.wrappers import option_variants
from torch import Tensor
from torch.nn import Parameter
from torch.optim import lr_scheduler

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.catalog.sizes import element_count
from optim_core.catalog.specs import OptimizerSpec
from optim_core.cli.app import app
from optim_core.errors import InvalidOption, SparseGradient, UnknownOption
from optim_core.optimizers import closures
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

SPECS = optimizers()
SHAPES = {
    "0-d": (),
    "1-d": (5,),
    "one": (1,),
    "empty": (0,),
    "empty-matrix": (3, 0),
    "matrix": (3, 4),
    "column": (4, 1),
    "row": (1, 4),
    "3-d": (2, 3, 4),
    "conv": (4, 2, 3, 3),
    "depthwise": (4, 1, 3, 3),
}
#: Each switch and each choice of each method.
SWITCHED = [
    (spec, options)
    for spec in SPECS
    for options in option_variants(load_class(spec))
    if any(isinstance(value, (bool, str)) for value in options.values())
]
#: Longer than any phase in which a method may stand still (AdaShift's takes ten steps).
STEPS = 12


@pytest.fixture(params=SPECS, ids=[spec.name for spec in SPECS])
def spec(request: pytest.FixtureRequest) -> OptimizerSpec:
    return request.param


@pytest.fixture
def cls(spec: OptimizerSpec) -> Any:
    return optim_core.get(spec.name)


def usual_lr(cls: Any) -> float:
    default = cls.hypers["lr"].default
    return 1e-2 if default is None else float(default)


def positive(shape: Sequence[int], i: int = 0, dtype: torch.dtype = torch.float64) -> Parameter:
    """A parameter whose elements are all above 0, so that the loss's gradient is nowhere zero at the start."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return Parameter((0.7 + 0.5 * torch.sin(1.7 * k + i)).reshape(tuple(shape)).to(dtype))


def run(optimizer: Any, params: Sequence[Tensor], steps: int = STEPS) -> None:
    for _ in range(steps):
        optimizer.minimize(closure(params))


def tensors(state: Any) -> list[Tensor]:
    """Every tensor in a parameter's state."""
    if isinstance(state, Tensor):
        return [state]
    inside = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return [t for x in inside for t in tensors(x)]


# the first step ------------------------------------------------------------------------------------------------
def test_lr_zero_stands_still(cls: Any) -> None:
    params = [positive((3, 4)), positive((5,), 1), positive((), 2)]
    optimizer = cls(params, lr=0.0)
    before = copies(params)
    run(optimizer, params, 2)
    assert equal(before, params)
    for group in optimizer.param_groups:
        group["lr"] = usual_lr(cls)
    run(optimizer, params)
    assert finite(params)
    assert not equal(before, params)


@pytest.mark.parametrize("spec_and_options", SWITCHED, ids=lambda case: "-".join([case[0].name, *map(str, case[1])]))
def test_single_numbers_under_each_switch(spec_and_options: tuple[OptimizerSpec, dict[str, Any]]) -> None:
    spec, options = spec_and_options
    try:
        optimizer = optim_core.get(spec.name)([positive(())], **options)
    except InvalidOption as refusal:  # it says what the switch needs
        pytest.skip(str(refusal))
    params = optimizer.param_groups[0]["params"]
    loss_of = closure(params)
    for _ in range(3):
        optimizer.minimize((lambda: -loss_of()) if options.get("maximize") else loss_of)
    assert finite(params)


def test_first_gradient_zero(cls: Any) -> None:
    params = [positive((3, 4)), positive((5,), 1), positive((4, 2, 3, 3), 2)]
    optimizer = cls(params)
    before = copies(params)
    optimizer.minimize(lambda: torch.stack([(0 * p.square()).sum() for p in params]).sum())
    assert finite(params)
    run(optimizer, params)
    assert finite(params)
    assert not equal(before, params)


@pytest.fixture
def totals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What rules that are traced from here on sum over all parameters."""
    found = []
    reduce = Trace.reduce

    def recorded(trace: Trace, op: str, level: Level, *operands: Value) -> Value:
        if level is Level.WHOLE:
            found.append(repr(operands))
        return reduce(trace, op, level, *operands)

    monkeypatch.setattr(Trace, "reduce", recorded)
    return found


def test_parameter_without_gradient_joins_late(spec: OptimizerSpec, cls: Any, totals: list[str]) -> None:
    early, late, alone = positive((3, 4)), positive((4, 3), 1), positive((4, 3), 1)
    optimizer, fresh = cls([early, late]), cls([alone])
    before = copies([late])
    run(optimizer, [early], 3)
    assert equal(before, [late])
    for _ in range(STEPS):
        optimizer.minimize(closure([early, late]))
        fresh.minimize(closure([alone]))
    assert finite([early, late])
    assert not equal(before, [late])
    assert optimizer.state[late]["step"] == STEPS
    draws = any(name.startswith("generator") for name in optimizer.state_dict()["state"].get("whole", ()))
    if not totals and not draws and "whole" not in spec.state.values():  # the parameters share nothing
        torch.testing.assert_close(late, alone, rtol=1e-12, atol=1e-12)


def test_group_added_later(cls: Any) -> None:
    params = [positive((3, 4)), positive((4, 3), 1)]
    optimizer = cls(params[:1])
    run(optimizer, params[:1], 2)
    optimizer.add_param_group({"params": [params[1]]})
    before = copies(params)
    run(optimizer, params)
    assert finite(params)
    assert not any(equal([a], [b]) for a, b in zip(before, params, strict=True))


# gradients, shapes, types --------------------------------------------------------------------------------------
@pytest.mark.parametrize("maximize", [False, True])
def test_gradients_are_only_read(cls: Any, maximize: bool) -> None:
    params = [positive((3, 4)), positive((5,), 1)]
    options = {"weight_decay": 0.1} if "weight_decay" in cls.hypers else {}
    optimizer = cls(params, maximize=maximize, **options)
    before: list[Any] = []

    def evaluated() -> Tensor:
        optimizer.zero_grad()
        loss = closure(params)()
        closures.backward(loss, create_graph=optimizer.needs_graph)
        before[:] = [(p.grad.data_ptr(), p.grad._version, p.grad.detach().clone()) for p in params]
        return loss

    for _ in range(3):
        optimizer.step(evaluated)
        for p, (pointer, version, g) in zip(params, before, strict=True):
            assert (p.grad.data_ptr(), p.grad._version) == (pointer, version)
            assert torch.equal(p.grad, g)


@pytest.mark.parametrize("foreach", [True, False, None])
def test_every_shape(cls: Any, foreach: bool | None) -> None:
    params = [positive(shape, i) for i, shape in enumerate(SHAPES.values())]
    optimizer = cls(params, foreach=foreach)
    before = copies(params)
    run(optimizer, params)
    assert finite(params)
    for shape, a, b in zip(SHAPES, before, params, strict=True):
        assert b.numel() == 0 or not torch.equal(a, b), shape


def test_memory_layout_does_not_matter(cls: Any) -> None:
    plain = [positive((4, 6)), positive((4, 2, 3, 3), 1)]
    other = [
        Parameter(plain[0].detach().t().contiguous().t()),
        Parameter(plain[1].detach().to(memory_format=torch.channels_last)),
    ]
    assert not any(p.is_contiguous() for p in other)
    for params in (plain, other):
        torch.manual_seed(0)
        run(cls(params), params)
    torch.testing.assert_close(other, plain, rtol=1e-10, atol=1e-12)


def test_low_precision_keeps_float32_state(cls: Any) -> None:
    params = [positive((3, 4), dtype=torch.bfloat16), positive((5,), 1, dtype=torch.bfloat16)]
    optimizer = cls(params)
    run(optimizer, params)
    assert finite(params)
    for p in params:
        assert p.dtype is torch.bfloat16
        assert {t.dtype for t in tensors(optimizer.state[p])} <= {torch.float32}


def test_sparse_gradient_is_refused(cls: Any) -> None:
    embedding = torch.nn.Embedding(4, 3, sparse=True)
    optimizer = cls(embedding.parameters())
    before = copies(embedding.parameters())
    with pytest.raises(SparseGradient, match=r"sparse=False"):
        optimizer.minimize(lambda: embedding(torch.tensor([1, 2])).square().sum())
    assert equal(before, list(embedding.parameters()))


# state ---------------------------------------------------------------------------------------------------------
def held(optimizer: Any, p: Tensor, spec: OptimizerSpec) -> dict[str, list[Tensor]]:
    """The tensors of each state that a parameter shares or has, by the names in the spec."""
    whole = optimizer.whole if optimizer.method.whole_states else {}
    return {name: tensors(whole[name] if name in whole else optimizer.state[p].get(name)) for name in spec.state}


def test_spec_tells_the_state(spec: OptimizerSpec, cls: Any) -> None:
    shapes = [shape for shape in SHAPES.values() if math.prod(shape)]  # what is empty takes no part
    params = [positive(shape, i) for i, shape in enumerate(shapes)]
    optimizer = cls(params)
    announced = optimizer.state_bytes()
    run(optimizer, params, 1)
    local = {name: size for name, size in spec.state.items() if size != "whole"}
    for p in params:
        numbers = {name: sum(t.numel() for t in kept) for name, kept in held(optimizer, p, spec).items()}
        wanted = {name: element_count(size, tuple(p.shape)) for name, size in local.items()}
        assert {name: numbers[name] for name in local} == wanted, tuple(p.shape)
    numbers = [t.numel() for p in params for t in tensors([optimizer.state[p].get(name) for name in local])]
    assert announced == sum(numbers) * params[0].element_size()
    assert set(optimizer.method.whole_states) == spec.state.keys() - local.keys()
    kept = {name for name, size in local.items() if any(element_count(size, shape) for shape in shapes)}
    assert {name for p in params for name in optimizer.state[p]} - {"step"} == kept


def test_show_tells_the_memory(spec: OptimizerSpec, cls: Any) -> None:
    words = ["show", spec.name, "--json", "--parameters", "205", "--shape", "8x8"]
    shown = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    params = [positive(shape, i, torch.float32) for i, shape in enumerate(shown["state_of"])]
    assert sum(p.numel() for p in params) == 205
    optimizer = cls(params)
    run(optimizer, params, 1)
    kept: dict[str, dict[int, int]] = {name: {} for name in spec.state}
    for p in params:
        for name, found in held(optimizer, p, spec).items():
            kept[name] |= {t.data_ptr(): t.nbytes for t in found}  # one of the whole model counts once
    assert shown["state_bytes"] == {name: sum(sizes.values()) for name, sizes in kept.items()}


def test_checkpoint_continues_bit_for_bit(cls: Any) -> None:
    params = [positive((3, 4)), positive((5,), 1)]
    optimizer = cls(params)
    run(optimizer, params, 3)
    saved = reloaded(optimizer.state_dict())
    others = [Parameter(p.detach().clone()) for p in params]
    resumed = cls(others)
    with torch.no_grad():  # a constructor may change parameters (Nero's does); a model's checkpoint is loaded after it
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    torch.manual_seed(123)  # draws come from the saved generator, not from torch's
    resumed.load_state_dict(saved)
    for _ in range(STEPS):
        optimizer.minimize(closure(params))
        resumed.minimize(closure(others))
        assert equal(params, others)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_copies_continue_bit_for_bit(cls: Any, copied: Callable[[Any], Any]) -> None:
    params = [positive((3, 4)), positive((5,), 1)]
    optimizer = cls(params)
    run(optimizer, params, 3)
    others, twin = copied((params, optimizer))
    assert twin.param_groups[0]["params"][0] is others[0]
    for _ in range(STEPS):
        optimizer.minimize(closure(params))
        twin.minimize(closure(others))
        assert equal(params, others)


# options -------------------------------------------------------------------------------------------------------
def test_misspelt_options_are_refused(cls: Any) -> None:
    for name in cls.hypers:
        misspelt = name + name[-1]
        with pytest.raises(UnknownOption, match=rf"{cls.__name__} has no option '{misspelt}'.*{name}"):
            cls([positive((2,))], **{misspelt: cls.hypers[name].default})


def outside(h: Any) -> list[Any]:
    """Values that an option must refuse: not a number, and beyond each of its bounds."""
    numbers = [math.nan]
    numbers += [h.ge - 1] if h.ge is not None else [h.gt] if h.gt is not None else []
    numbers += [h.le + 1] if h.le is not None else [h.lt] if h.lt is not None else []
    if isinstance(h.default, tuple):
        return [(*h.default[:i], x, *h.default[i + 1 :]) for i in range(len(h.default)) for x in numbers]
    return numbers


def test_values_out_of_range_are_refused(cls: Any) -> None:
    for name, h in cls.hypers.items():
        numeric = any(kind in str(h.type_name) for kind in ("int", "float"))
        for value in [*(outside(h) if numeric else []), object()]:
            with pytest.raises(InvalidOption, match=rf"{cls.__name__}: {name}="):
                cls([positive((2,))], **{name: value})
            optimizer = cls([positive((2,))])
            with pytest.raises(InvalidOption, match=rf"{cls.__name__}: {name}="):
                optimizer.add_param_group({"params": [positive((3,))], name: value})
            assert len(optimizer.param_groups) == 1


def test_lr_can_be_searched(cls: Any) -> None:
    low, high = cls.hypers["lr"].search
    assert 0 < low < high


# schedulers and GradScaler -------------------------------------------------------------------------------------
SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, start_factor=0.1),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=STEPS + 1, cycle_momentum=_has_momentum(o)),
}


def _has_momentum(optimizer: Any) -> bool:
    return "momentum" in optimizer.defaults or len(optimizer.defaults.get("betas", ())) == 2


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_of_torch(cls: Any, name: str) -> None:
    params = [positive((3, 4)), positive((5,), 1)]
    optimizer = cls([{"params": params[:1]}, {"params": params[1:]}])
    assert all(isinstance(group["lr"], float) for group in optimizer.param_groups)
    scheduler = SCHEDULERS[name](optimizer)
    seen = set()
    for _ in range(STEPS):
        optimizer.minimize(closure(params))
        seen.add(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert finite(params)
    assert len(seen) > 1


def test_scheduled_lr_of_zero_counts(cls: Any) -> None:
    params = [positive((3, 4)), positive((5,), 1)]
    optimizer = cls([{"params": params[:1]}, {"params": params[1:]}])
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda n: 1.0, lambda n: 0.0])
    before = copies(params)
    for _ in range(STEPS):
        optimizer.minimize(closure(params))
        scheduler.step()
    assert not equal(before[:1], params[:1])
    assert equal(before[1:], params[1:])


def test_grad_scaler(spec: OptimizerSpec, cls: Any) -> None:
    if "create_graph" in spec.needs:
        pytest.skip("GradScaler unscales gradients in place, which their graph does not survive")
    if {"closure", "loss"} & set(spec.needs):
        pytest.skip("GradScaler.step() takes no closure")
    plain, scaled = ([positive((3, 4)), positive((5,), 1)] for _ in range(2))
    torch.manual_seed(0)
    reference = cls(plain)
    torch.manual_seed(0)  # the same draws
    optimizer = cls(scaled)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4, growth_interval=100)
    for _ in range(STEPS):
        reference.zero_grad()
        closure(plain)().backward()
        reference.step()
        optimizer.zero_grad()
        scaler.scale(closure(scaled)()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert equal(plain, scaled)
    before = copies(scaled)
    optimizer.zero_grad()
    scaler.scale(closure(scaled)() * math.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert equal(before, scaled)
    assert scaler.get_scale() == 2.0**3
