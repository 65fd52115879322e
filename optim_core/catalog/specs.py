"""Specs: what is known of a method before anything of it is imported."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from optim_core.catalog.needs import NEEDS, Need
from optim_core.errors import SpecError
from optim_core.names import did_you_mean, normalise

Kind: TypeAlias = Literal["optimizer", "scheduler", "wrapper"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: How large a state is for one parameter of a given shape; "3 element" stands for three of that size.
SIZES: Mapping[str, str] = {
    "element": "as the parameter",
    "row": "one number for each index of dimension 0",
    "tensor": "one number a parameter",
    "whole": "one number for the model",
    "axes": "a d x d matrix for each axis of length d",
    "axis_vectors": "d numbers for each axis of length d",
    "all_but_last": "without the last dimension (2 dimensions and more)",
    "all_but_second_last": "without the last but one dimension (2 dimensions and more)",
    "element_below_2d": "as the parameter (fewer than 2 dimensions)",
    "element_from_2d": "as the parameter (2 dimensions and more)",
    "axes_from_2d": "a d x d matrix for each axis of length d (2 dimensions and more)",
}

_ID = r"[A-Za-z0-9][A-Za-z0-9.\-]*\+?"
_LICENSE = re.compile(rf"\(*{_ID}\)*(?: (?:AND|OR|WITH) \(*{_ID}\)*)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_SIZE = re.compile(r"(?:([1-9]\d*) )?([a-z0-9_]+)")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a method was published."""

    title: str
    url: str
    year: int


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a pack says of one method. Use a subclass: it gives the kind.

    Args:
        name: lower case, words joined by ``_``; names are compared as :func:`optim_core.names.normalise` has it.
        target: where the class is, ``"module:Class"``; imported when somebody asks for it, not before.
        summary: one line in plain words.
        license: SPDX expression of this implementation.
        aliases: other names; a name always wins over an alias.
        paper: where it was published.
        code: URL of the authors' code.
        code_license: SPDX expression of the authors' code, or ``"none found"``.
        needs: what it needs beside gradients, keys of :data:`optim_core.catalog.NEEDS`.

    Raises:
        SpecError: a field does not have this form.

    Example:
        >>> OptimizerSpec(name="lion", target="acme.lion:Lion", summary="Sign of momentum.", license="MIT").kind
        'optimizer'
    """

    kind: ClassVar[Kind]

    name: str
    target: str
    summary: str
    license: str
    aliases: tuple[str, ...] = ()
    paper: Paper | None = None
    code: str = ""
    code_license: str = ""
    needs: tuple[Need, ...] = ()

    def __post_init__(self) -> None:
        if not hasattr(self, "kind"):
            raise SpecError(f"{self.name!r}: use OptimizerSpec, SchedulerSpec or WrapperSpec instead of Spec")
        self._check_names()
        if not _TARGET.fullmatch(self.target):
            self._reject("target", self.target, "'module:Class'")
        if not self.summary or "\n" in self.summary:
            self._reject("summary", self.summary, "one line")
        if not is_license(self.license):
            self._reject("license", self.license, "an SPDX expression such as 'Apache-2.0'")
        if self.code_license not in ("", "none found") and not is_license(self.code_license):
            self._reject("code_license", self.code_license, "an SPDX expression or 'none found'")
        for need in self.needs:
            if need not in NEEDS:
                self._reject("needs", need, f"one of {', '.join(NEEDS)}.{did_you_mean(need, NEEDS)}")

    def _check_names(self) -> None:
        names = (self.name, *self.aliases)
        for name in names:
            if not _NAME.fullmatch(name):
                self._reject("name", name, "lower-case letters, digits and single '_' between them")
        if len({normalise(name) for name in names}) < len(names):
            self._reject("aliases", self.aliases, "different from the name and from each other")

    def _reject(self, field_name: str, value: object, wanted: str) -> None:
        raise SpecError(f"spec {self.name!r}: {field_name}={value!r} should be {wanted}")

    @property
    def class_name(self) -> str:
        """The name of the class behind it."""
        return self.target.partition(":")[2]

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain values, for JSON."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Spec):
    """An optimizer.

    Args:
        state: for each state that it keeps with its default options, the size: a key of :data:`SIZES`, several of it
            (``"3 element"``), or ``"module:function"``, a function of the parameter's shape in a module of the pack
            that does not import torch (its docstring's first line is shown).
        constructors: names of class methods that construct it in another way.
        shortfall: why it does not learn what every optimizer must (90 % of the task ``digits`` after 10 epochs, at some
            lr of its range), one line; "" if it does. ``nox -s learns`` holds it to that.
    """

    kind: ClassVar[Kind] = "optimizer"

    state: Mapping[str, str] = field(default_factory=dict, hash=False)
    constructors: tuple[str, ...] = ()
    shortfall: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "\n" in self.shortfall:
            self._reject("shortfall", self.shortfall, "one line")
        for name, size in self.state.items():
            if not _is_size(size):
                wanted = f"one of {', '.join(SIZES)}, '3 element' for three, or 'module:function'"
                self._reject(f"state[{name!r}]", size, wanted)


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec(Spec):
    """A learning-rate scheduler.

    Args:
        example: the options, as they would be written behind ``optimizer`` in a call, of a schedule of about 100
            steps; it may name ``optimizer`` and ``torch``. Empty if the defaults will do. It is what
            `optim-core show` and the documentation draw, and what tests build.
        sets: the entry of a parameter group that it changes.
    """

    kind: ClassVar[Kind] = "scheduler"

    example: str = ""
    sets: str = "lr"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _are_keywords(self.example):
            self._reject("example", self.example, "keyword arguments such as 'total_steps=100, min_lr=0.01'")
        if not self.sets.isidentifier():
            self._reject("sets", self.sets, "the name of a parameter group's entry, such as 'lr'")


@dataclass(frozen=True, kw_only=True)
class WrapperSpec(Spec):
    """Something that stands around an optimizer."""

    kind: ClassVar[Kind] = "wrapper"


def is_license(text: str) -> bool:
    """Whether a text has the form of an SPDX expression; it may still name a licence that does not exist.

    Example:
        >>> [is_license(text) for text in ("Apache-2.0", "MIT OR (BSD-3-Clause AND ISC)", "free for all")]
        [True, True, False]
    """
    return _LICENSE.fullmatch(text) is not None and text.count("(") == text.count(")")


def _are_keywords(text: str) -> bool:
    try:
        call = ast.parse(f"call({text})", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and not call.args and all(keyword.arg for keyword in call.keywords)


def state_numbers(size: str, shape: tuple[int, ...]) -> int:
    """How many numbers a state has for a parameter of a shape; 0 for ``whole``, which belongs to no parameter.

    Example:
        >>> [state_numbers(size, (4, 3)) for size in ("element", "2 element", "row", "axes", "all_but_last")]
        [12, 24, 4, 25, 4]
    """
    if not _is_size(size):
        raise SpecError(f"{size!r} is no size of a state: {', '.join(SIZES)}")
    if (own := _own_size(size)) is not None:
        return int(own(shape))
    count, _, kind = size.rpartition(" ")
    matrix = len(shape) >= 2
    each = {
        "element": math.prod(shape),
        "row": shape[0] if shape else 1,
        "tensor": 1,
        "whole": 0,
        "axes": sum(d * d for d in shape),
        "axis_vectors": sum(shape) if shape else 1,
        "all_but_last": math.prod(shape[:-1]) if matrix else 0,
        "all_but_second_last": math.prod((*shape[:-2], shape[-1])) if matrix else 0,
        "element_below_2d": 0 if matrix else math.prod(shape),
        "element_from_2d": math.prod(shape) if matrix else 0,
        "axes_from_2d": sum(d * d for d in shape) if matrix else 0,
    }[kind]
    return int(count or 1) * each


def size_text(size: str) -> str:
    """What a size means, in words.

    Example:
        >>> size_text("3 row")
        '3 times: one number for each index of dimension 0'
    """
    if (own := _own_size(size)) is not None:
        return (inspect.getdoc(own) or size).partition("\n")[0]
    count, _, kind = size.rpartition(" ")
    return f"{count} times: {SIZES[kind]}" if count else SIZES[kind]


def _is_size(size: str) -> bool:
    found = _SIZE.fullmatch(size)
    return bool(_TARGET.fullmatch(size)) or (found is not None and found[2] in SIZES)


def _own_size(size: str) -> Callable[[tuple[int, ...]], int] | None:
    """The function behind ``"module:function"``; None for other sizes."""
    module, _, name = size.partition(":")
    return getattr(importlib.import_module(module), name) if name else None
