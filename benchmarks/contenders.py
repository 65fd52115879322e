"""Who is measured: for each method this library, torch and pytorch-optimizer, each in every way it can run.

Every contender gets parameters of its own and steps with its default options. Methods that need more than gradients
are measured for the update alone: an estimate of the curvature, or a loss, is handed to them ready-made.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch.nn import Linear, Parameter, Sequential

import optim_core
from benchmarks import peers
from optim_core import RuleOptimizer
from optim_core.catalog.specs import Spec

Step: TypeAlias = Callable[[], object]

OURS, TORCH, KOZISTR = "optim-core", "torch", "pytorch_optimizer"
LIBRARIES = (OURS, TORCH, KOZISTR)
COMPILED = "torch.compile"
#: The method of the two contenders that all others are compared with.
BASELINE, COPY = "fused AdamW", "copy"

_COPY_BYTES = 1 << 28


@dataclass(frozen=True)
class Started:
    """A contender with its parameters.

    Attributes:
        step: does one step.
        optimizer: what does it; None for the copy.
    """

    step: Step
    optimizer: torch.optim.Optimizer | None = None

    def held(self, params: Iterable[Parameter]) -> int:
        """Bytes of parameters, gradients and states."""
        tensors: list[torch.Tensor] = list(params)
        tensors += [p.grad for p in tensors if p.grad is not None]
        states: Mapping[Any, Any] = {} if self.optimizer is None else self.optimizer.state
        return sum(x.nbytes for x in [*tensors, *_tensors(states)])


def _tensors(state: Any) -> list[Any]:
    if isinstance(state, torch.Tensor):
        return [state]
    inside = state.values() if isinstance(state, Mapping) else state if isinstance(state, (list, tuple)) else ()
    return [t for x in inside for t in _tensors(x)]


@dataclass(frozen=True)
class Contender:
    """One library's way to do one method's step.

    Attributes:
        method: the method's name in the registry.
        library: one of :data:`LIBRARIES`.
        setting: how it runs, in words.
        start: builds the optimizer around parameters; raises if it does not take them.
    """

    method: str
    library: str
    setting: str
    start: Callable[[list[Parameter]], Started]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.library, self.method, self.setting)))


def baseline() -> Contender:
    """torch's fused AdamW, which every time is a multiple of."""
    start = partial(_started, partial(torch.optim.AdamW, fused=True), None)
    return Contender(BASELINE, TORCH, "fused", start)


def copy() -> Contender:
    """A copy of a large buffer by all threads: the rate at which this machine moves bytes."""

    def start(params: list[Parameter]) -> Started:
        del params
        source = torch.ones(_COPY_BYTES // 4)
        return Started(partial(torch.empty_like(source).copy_, source))

    return Contender(COPY, TORCH, "", start)


def copied_bytes() -> int:
    """Bytes that :func:`copy` reads and writes."""
    return 2 * _COPY_BYTES


def contenders(spec: Spec, engines: Sequence[str], *, compiled: bool) -> list[Contender]:
    """Everyone who has a method, ours first.

    Args:
        spec: the method.
        engines: what to give our optimizer as ``engine``.
        compiled: also pytorch-optimizer's updates under torch.compile, which takes it a minute or so each.
    """
    cls = optim_core.get(spec.name)
    ours = {engine: partial(_started, _ours(spec, cls, engine), spec) for engine in engines}
    found = [Contender(spec.name, OURS, engine, start) for engine, start in ours.items()]
    for library, namespace in ((TORCH, torch.optim), (KOZISTR, _kozistr())):
        other = peers.peer(spec, peers.classes(namespace, own=library), library) if namespace else None
        if other is None:
            continue
        for way in peers.settings(other):
            start = partial(_started, partial(_theirs, namespace, other, way), spec)
            found.append(Contender(spec.name, library, peers.described(way), start))
        if compiled and getattr(other, "_supports_compiled_foreach", False):
            start = partial(_started, partial(_by_factory, namespace, other, {"compile": True}), spec)
            found.append(Contender(spec.name, library, COMPILED, start))
    return found


def _kozistr() -> Any:
    return importlib.import_module(KOZISTR) if importlib.util.find_spec(KOZISTR) else None


def _ours(spec: Spec, cls: Any, engine: str) -> Callable[[list[Parameter]], Any]:
    def make(params: list[Parameter]) -> Any:
        named: list[Any] = [(f"{i // 2}.{'bias' if i % 2 else 'weight'}", p) for i, p in enumerate(params)]
        made = _with_extras_given(cls) if issubclass(cls, RuleOptimizer) and "create_graph" in spec.needs else cls
        options = {"engine": engine} if issubclass(cls, RuleOptimizer) else {}
        return made(named if "named_params" in spec.needs else params, **options)

    return make


def _with_extras_given(cls: type[RuleOptimizer]) -> Any:
    """The same method, handed its extra inputs (estimates of the curvature) ready-made at every step."""
    given: dict[int, torch.Tensor] = {}

    def extras(self: RuleOptimizer, params: Sequence[torch.Tensor]) -> Mapping[str, Sequence[torch.Tensor]]:
        for p in params:
            if id(p) not in given:
                given[id(p)] = torch.full_like(p, 0.5)
        return {name: [given[id(p)] for p in params] for name in self.method.extras}

    body = {"extras": extras, "needs_graph": property(lambda _: False), "__module__": cls.__module__}
    return type(cls.__name__, (cls,), body)


def _theirs(package: Any, cls: Any, way: Mapping[str, Any], params: list[Parameter]) -> Any:
    try:
        return cls(params, **way)
    except Exception:
        if not hasattr(package, "create_optimizer"):
            raise
        return _by_factory(package, cls, way, params)  # knows how to tell matrices from biases, for Muon


def _by_factory(package: Any, cls: Any, way: Mapping[str, Any], params: list[Parameter]) -> Any:
    """pytorch-optimizer's own way to construct and compile, which wants a model (Muon: with linear layers)."""
    taken = inspect.signature(cls).parameters
    lr = taken["lr"].default if "lr" in taken else None
    options = {"lr": lr} if isinstance(lr, float) else {}
    needed = {name: value for name, value in peers.settings(cls)[0].items() if name in peers.REQUIRED}
    layers = [_layer(*params[i : i + 2]) for i in range(0, len(params), 2)]
    return package.create_optimizer(Sequential(*layers), cls.__name__.lower(), **(options | needed | dict(way)))


def _layer(weight: Parameter, bias: Parameter) -> Linear:
    """A linear layer around parameters that exist."""
    layer = Linear(1, 1, device="meta")
    layer.weight, layer.bias = weight, bias
    return layer


def _started(make: Callable[[list[Parameter]], Any], spec: Spec | None, params: list[Parameter]) -> Started:
    optimizer = make(params)
    if not isinstance(optimizer, RuleOptimizer) and callable(getattr(optimizer, "train", None)):
        optimizer.train()  # schedule-free methods of others refuse to step before
    return Started(_step(optimizer, spec, params), optimizer)


def _step(optimizer: Any, spec: Spec | None, params: list[Parameter]) -> Step:
    needs = spec.needs if spec is not None else ()
    if "hessian" in inspect.signature(optimizer.step).parameters:
        return partial(optimizer.step, hessian=[torch.full_like(p, 0.5) for p in params])
    if "loss" in needs or "closure" in needs:
        loss, memory = torch.tensor(1.0), [p.grad for p in params]

        def evaluate() -> torch.Tensor:
            for k, p in enumerate(params):  # new gradients, as backward() leaves them, in the memory of the old ones
                g = memory[k] = memory[k] if p.grad is None else p.grad
                p.grad = None if g is None else g.detach()
            return loss

        return partial(optimizer.step, evaluate)
    return optimizer.step  # type: ignore[no-any-return]


def provided(spec: Spec) -> str:
    """What was handed to a method ready-made, in words; empty if nothing was."""
    words = {"create_graph": "curvature given", "loss": "loss given", "closure": "closure returns at once"}
    return ", ".join(text for need, text in words.items() if need in spec.needs)
