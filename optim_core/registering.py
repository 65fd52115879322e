"""Registering a class without a pack: for notebooks and scripts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import fields as fields_of
from typing import Any, TypeVar, overload

from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from optim_core.catalog.kinds import KINDS
from optim_core.catalog.registry import register_class
from optim_core.catalog.specs import KindName, Spec
from optim_core.errors import SpecError, UnknownOption
from optim_core.names import did_you_mean
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.wrapping.wrapper import Wrapper

_Class = TypeVar("_Class", bound=Callable[..., Any])


@overload
def register(
    cls: _Class, /, *, license: str, name: str = "", kind: KindName | None = None, **fields: Any
) -> _Class: ...
@overload
def register(
    *, license: str, name: str = "", kind: KindName | None = None, **fields: Any
) -> Callable[[_Class], _Class]: ...
def register(
    cls: Any = None,
    /,
    *,
    license: str,  # noqa: A002 - what it is called everywhere
    name: str = "",
    kind: KindName | None = None,
    **fields: Any,
) -> Any:
    """Give a class a name here and now, without a pack; as a function, or as a decorator.

    From then on it is found by its name like any installed method: by ``get``, ``create_optimizer``, ``compare``,
    ``explain``, and as ``local:NAME``. What is checked is what is checked of packs. A class that is defined and
    registered again at the same place, as a notebook's cell is, replaces the former one.

    Args:
        cls: an optimizer (this library's or a plain one), a wrapper or a scheduler.
        license: SPDX expression.
        name: its name; by default that of the class in lower case.
        kind: ``"optimizer"``, ``"scheduler"`` or ``"wrapper"``, where it does not follow from the class: a plain class
            around another optimizer is a wrapper.
        fields: of the spec, such as ``aliases``, ``needs``, ``state``, ``offers``: see
            :class:`optim_core.catalog.OptimizerSpec`. What follows from the class may be left out: ``summary`` from its
            docstring; ``needs`` and ``state`` from the declarations of a RuleOptimizer.

    Returns:
        The class.

    Raises:
        SpecError: a field is wrong or missing, the class is of another kind, or the name belongs to another method.
        UnknownOption: the spec has no such field.

    Example:
        >>> import torch
        >>> import optim_core
        >>> @optim_core.register(license="MIT", name="half_sgd")  # doctest: +SKIP
        ... class Half(torch.optim.SGD):
        ...     "SGD with a step size of its own."
        >>> optim_core.get("half-sgd")  # doctest: +SKIP
    """
    if cls is None:
        return lambda decorated: register(decorated, license=license, name=name, kind=kind, **fields)
    if not callable(cls) or not hasattr(cls, "__qualname__"):
        raise SpecError(f"register takes a class, not {cls!r:.60}: write @optim_core.register(license=...)")
    sort = KINDS[_kind_of(cls, kind)]
    given = {"name": name or re.sub(r"_+", "_", cls.__name__.lower()).strip("_"), "license": license, **fields}
    known = {field.name for field in fields_of(sort.spec)} - {"target"}
    for field in given:
        if field not in known:
            near = did_you_mean(field, known)
            raise UnknownOption(f"{sort.phrase} has no field {field!r}.{near} It has: {', '.join(sorted(known))}")
    spec = sort.spec(target=f"{_identifiers(cls.__module__)}:{cls.__name__}", **(_from_class(cls, given) | given))
    _check_needs(cls, spec)
    register_class(spec, cls)
    return cls


def _kind_of(cls: Any, kind: KindName | None) -> KindName:
    bases: dict[KindName, type] = {"wrapper": Wrapper, "scheduler": LRScheduler, "optimizer": Optimizer}
    found = [name for name, base in bases.items() if isinstance(cls, type) and issubclass(cls, base)]
    own = found[0] if found else None if isinstance(cls, type) else "wrapper"
    if kind is None and own is None:
        raise SpecError(f"{cls.__name__} is neither an optimizer nor a scheduler: derive it from torch's base class")
    if kind is not None and kind not in KINDS:
        raise SpecError(f"kind={kind!r} is not one of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    if kind in ("optimizer", "scheduler") and (kind not in found or own == "wrapper"):
        raise SpecError(
            f"{cls.__name__} is not {KINDS[kind].phrase}: leave out kind={kind!r}, or change its base class"
        )
    return kind or own  # type: ignore[return-value]


def _identifiers(module: str) -> str:
    """The module's name in the form that a target has; what runs as a script may have another."""
    return re.sub(r"[^\w.]", "_", module)


def _from_class(cls: Any, given: Collection[str]) -> dict[str, Any]:
    """The fields of a spec that follow from a class, as far as they are not given."""
    own_doc = vars(cls).get("__doc__") if isinstance(cls, type) else cls.__doc__
    found: dict[str, Any] = {"summary": inspect.cleandoc(own_doc or "").partition("\n")[0].strip()}
    if not found["summary"]:
        found["summary"] = cls.__name__
    if isinstance(cls, type) and issubclass(cls, (RuleOptimizer, Wrapper)):
        found["needs"] = tuple(sorted(cls.needs))
    if isinstance(cls, type) and issubclass(cls, RuleOptimizer) and "state" not in given:
        found["state"] = _sizes(cls)
    return found


def _sizes(cls: type[RuleOptimizer]) -> dict[str, str]:
    """The sizes of a method's states with its default options.

    Raises:
        SpecError: one has no size that has a name.
    """
    options = {name: hyper.default for name, hyper in cls.hypers.items()}
    sizes = {}
    for name, state in cls.method.states.items():
        copies = options[state.copies] if state.copies is not None else 1
        count = len(copies) if isinstance(copies, tuple) else copies
        if state.shape is not None or state.every is not None or callable(state.level) or not isinstance(count, int):
            raise SpecError(
                f"how large the state {name!r} of {cls.__name__} is does not follow from the class: give state="
                f"{{{name!r}: 'element', ...}}, all of its states with sizes as in optim_core.catalog.OptimizerSpec"
            )
        size = state.level_in(options).name.lower()
        if state.present(options):
            sizes[name] = size if count == 1 else f"{count} {size}"
    return sizes


def _check_needs(cls: Any, spec: Spec) -> None:
    declared = getattr(cls, "needs", None)
    if isinstance(declared, frozenset) and declared != frozenset(spec.needs):
        raise SpecError(
            f"{spec.name!r}: needs={spec.needs!r}, but {cls.__name__} declares {tuple(sorted(declared))!r}: leave "
            "needs out, it follows from the class"
        )
