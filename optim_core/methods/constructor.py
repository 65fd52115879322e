"""The constructor that follows from a class's declarations: its signature, and its arguments by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from optim_core.errors import UnknownOption
from optim_core.methods.declarations import REQUIRED, Hyper
from optim_core.methods.method import read_class
from optim_core.methods.part import adopt


def declare(cls: Any, first: Parameter, *, by_position: bool = False, others: Iterable[Parameter] = ()) -> None:
    """Read a class's declarations, and give it the ``method``, ``hypers`` and signature that follow from them.

    Args:
        cls: the class; its parents' declarations are its own too.
        first: the argument that the constructor works on, such as ``params``.
        by_position: True if options may be given by position, unless they are declared with ``kw_only``.
        others: arguments that are not options.

    Raises:
        RuleError: a declaration does not make sense.
    """
    adopted = adopt(vars(cls).get("around", ()), cls.__name__)
    cls.method = read_class(cls, getattr(cls, "method", None), adopted)
    cls.hypers = cls.method.hypers
    options = [_parameter(declared, kw_only=declared.kw_only or not by_position) for declared in cls.hypers.values()]
    cls.__signature__ = Signature(sorted([first, *options, *others], key=lambda parameter: parameter.kind))


def _parameter(declared: Hyper, *, kw_only: bool) -> Parameter:
    kind = Parameter.KEYWORD_ONLY if kw_only else Parameter.POSITIONAL_OR_KEYWORD
    default = Parameter.empty if declared.default is REQUIRED else declared.default
    return Parameter(declared.name, kind, default=default, annotation=declared.type)


def bind(
    owner: str, hypers: Mapping[str, Hyper], arguments: Sequence[Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a constructor's options by name.

    Args:
        owner: the class, for messages.
        hypers: the declared options, in order.
        arguments: what was given by position, behind the first argument.
        options: what was given by name.

    Raises:
        UnknownOption: there are too many, or one is given twice.
    """
    names = [name for name, declared in hypers.items() if not declared.kw_only]
    if len(arguments) > len(names):
        raise UnknownOption(f"{owner} takes at most {len(names)} options by position, not {len(arguments)}")
    for name in names[: len(arguments)]:
        if name in options:
            raise UnknownOption(f"{owner}: {name!r} is given both by position and by name")
    return dict(zip(names, arguments, strict=False)) | dict(options)
