"""The only door from a comparison to the rest of optim_core: names, needs, learning rates and optimizers."""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optim_core.catalog.packs import TORCH
from optim_core.compare.contender import Contender, Part
from optim_core.compare.errors import PlanError
from optim_core.errors import WrongKind

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from optim_core.catalog.specs import KindName

    Closure = Callable[[], Tensor | Sequence[Tensor]]

_TORCH_PREFIX = f"{TORCH}:"


def resolve(contender: Contender) -> Contender:
    """The same contender under its registered names, so that `SophiaH` and `sophia` are one.

    Raises:
        OptimCoreError: a name is unknown, ambiguous, not installed, of another kind, or not allowed.
    """
    import optim_core

    try:
        optim_core.get(contender.optimizer.name)
    except WrongKind as reason:
        raise PlanError(f"{contender.label}: {reason}. {_instead(contender)}") from reason
    for part in contender.wrappers:
        optim_core.get_wrapper(part.name)
    return replace(
        contender,
        optimizer=_with_registered_name(contender.optimizer, "optimizer"),
        wrappers=tuple(_with_registered_name(part, "wrapper") for part in contender.wrappers),
    )


def _instead(contender: Contender) -> str:
    """What to type where something else than an optimizer comes first."""
    import optim_core

    if optim_core.info(contender.optimizer.name).kind == "wrapper":
        return f"A wrapper goes around an optimizer: sgd,momentum=0.9+{contender.label}"
    return f"Schedules are not compared; this draws it: optim-core show {contender.optimizer.name}"


def _with_registered_name(part: Part, kind: KindName) -> Part:
    if _is_torch(part):
        return replace(part, name=_TORCH_PREFIX + part.name[len(_TORCH_PREFIX) :].strip().lower())
    from optim_core.catalog.registry import registry

    entry = registry().entry(part.name, kind)
    return replace(part, name=entry.full_name if ":" in part.name else entry.spec.name)


def _is_torch(part: Part) -> bool:
    return part.name.lower().startswith(_TORCH_PREFIX)


def build(contender: Contender, model: nn.Module, lr: float) -> Optimizer:
    """The optimizer of a model, with its wrappers around it."""
    import optim_core

    wrappers = [(part.name, dict(part.options)) for part in contender.wrappers]
    options: dict[str, Any] = dict(contender.optimizer.options)
    return optim_core.create_optimizer(model, contender.optimizer.name, lr=lr, wrappers=wrappers, **options)


def minimize(optimizer: Optimizer, closure: Closure) -> None:
    """Take one step with any optimizer."""
    import optim_core

    optim_core.minimize(optimizer, closure)


@contextmanager
def evaluation_mode(optimizer: Optimizer) -> Iterator[None]:
    """Move the weights to the point for evaluation, of methods that train at another (schedule-free ones), and back."""
    from optim_core.optimizers import has_modes

    layer: Any = optimizer
    if not has_modes(optimizer):
        yield
        return
    layer.eval()
    try:
        yield
    finally:
        layer.train()


def needs(contender: Contender) -> dict[str, str]:
    """The needs that the parts declare, each with the name of a part that has it."""
    import optim_core

    kinds: list[tuple[Part, KindName]] = [(contender.optimizer, "optimizer")]
    kinds += [(part, "wrapper") for part in contender.wrappers]
    specs = [optim_core.info(part.name, kind) for part, kind in kinds if not _is_torch(part)]
    return {need: spec.name for spec in specs for need in spec.needs}


def default_lrs(contender: Contender, count: int) -> tuple[float, ...]:
    """Learning rates over the range that the method declares, at equal ratios, with two digits each.

    torch's own classes declare no range: their range is a factor of ten to either side of the default. A method that
    needs no search (it declares a default and no range) gets its default alone.

    Raises:
        PlanError: the method has no default learning rate either.
    """
    import optim_core

    cls = optim_core.get(contender.optimizer.name)
    hyper = getattr(cls, "hypers", {}).get("lr")
    if hyper is not None and hyper.search is not None:
        low, high = hyper.search
        return spread(low, high, count)
    if hyper is not None and isinstance(hyper.default, int | float):
        return (float(hyper.default),)
    parameter = inspect.signature(cls).parameters.get("lr")
    default = parameter.default if parameter is not None else None
    if not isinstance(default, int | float) or default <= 0:
        raise PlanError(
            f"{contender.label} declares no range of learning rates. Say which to try: --lrs 0.001,0.01, "
            f"or for it alone {contender.with_lrs('(0.001,0.01)')}"
        )
    return spread(default / 10, default * 10, count)


def spread(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` numbers from low to high at a constant ratio, rounded to two digits.

    Example:
        >>> spread(1e-4, 1e-1, 4)
        (0.0001, 0.001, 0.01, 0.1)
    """
    if count == 1:
        return (float(f"{math.sqrt(low * high):.1e}"),)
    ratio = (high / low) ** (1 / (count - 1))
    return tuple(float(f"{low * ratio**i:.1e}") for i in range(count))


def revision(contender: Contender) -> str:
    """A short hash of the source files of the classes: an edited method is run again, an unchanged one is not."""
    import optim_core

    objects: list[Any] = [optim_core.get(contender.optimizer.name)]
    objects += [optim_core.get_wrapper(part.name) for part in contender.wrappers]
    return source_hash(*objects)


def source_hash(*objects: Any) -> str:
    """A short hash of the files in which the objects are defined; a module without a source file counts by its name."""
    digest = hashlib.sha256()
    for thing in objects:
        name = getattr(thing, "__module__", "")
        module = sys.modules.get(name)
        try:
            digest.update(inspect.getsource(module).encode() if module is not None else name.encode())
        except (OSError, TypeError):
            digest.update(name.encode())
    return digest.hexdigest()[:12]


def state_bytes(optimizer: Optimizer) -> int:
    """The bytes of all tensors that the optimizer and its wrappers keep between steps; each storage counts once."""
    parameters = {_storage(p) for group in optimizer.param_groups for p in group["params"]}
    sizes: dict[int, int] = {}
    layer: Any = optimizer
    while layer is not None:
        for tensor in _tensors([layer.state, getattr(layer, "memory", None)]):
            sizes[_storage(tensor)] = tensor.untyped_storage().nbytes()
        layer = getattr(layer, "base", None)
    return sum(size for storage, size in sizes.items() if storage not in parameters)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> Iterator[Tensor]:
    from torch import Tensor

    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
