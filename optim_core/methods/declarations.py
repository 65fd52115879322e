"""What a method declares about itself: hyper-parameters, states, extra inputs; once, typed and checked.

Signature, validation, documentation, memory estimates and search ranges all follow from these declarations.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

from torch import Tensor

from optim_core.errors import InvalidOption, RuleError
from optim_core.names import did_you_mean
from optim_core.rules.values import Level

Group: TypeAlias = Mapping[str, Any]
Decay: TypeAlias = Literal["l2", "decoupled"]


class _Required:
    def __repr__(self) -> str:
        return "required"


#: Stands where an option has no default.
REQUIRED: Any = _Required()


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """A hyper-parameter.

    Attributes:
        name: its name, torch's where torch has it.
        default: the value when none is given; :data:`REQUIRED` if one must be.
        doc: meaning and unit, one line.
        type: its annotation, such as ``float``, ``bool``, ``float | None`` or ``tuple[float, float]``; or, for a table
            that a rule gets as it is, ``tuple[tuple[float, float], ...]``.
        ge, gt, le, lt: bounds of the value, or of each number of a tuple.
        choices: the values allowed, if they are few.
        search: (low, high), the range worth searching, on a log scale.
        examples: values of other forms than the default's.
        decay: how the core applies it, for a weight decay; None: the rule itself does.
        common: True if all groups must agree on it, because it acts on the model as a whole.
        kw_only: True if the constructor takes it by name only.
    """

    default: Any
    doc: str
    name: str = ""
    type: Any = float
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    search: tuple[float, float] | None = None
    examples: tuple[Any, ...] = ()
    decay: Decay | None = None
    common: bool = False
    kw_only: bool = False

    def check(self, value: Any, owner: str) -> Any:
        """Return the value in its normal form: a list becomes a tuple, an int a float where one is declared.

        Raises:
            InvalidOption: it has the wrong type or is out of range.
        """
        wanted = _alternatives(self.type)
        if value is None and type(None) in wanted:
            return None
        if self.choices is not None:
            if value not in self.choices:
                raise InvalidOption(f"{owner}: {self.name}={value!r} is not one of {_listed(self.choices)}")
            return value
        for kind in wanted:
            if kind in (bool, str) and type(value) is kind:
                return value
            if kind in (int, float) and self._is_number(value, kind):
                return self._in_range(value if isinstance(value, Tensor) else kind(value), owner)
            if typing.get_origin(kind) is tuple and self._is_tuple(value, kind):
                return self._tuple(value, kind, owner)
        raise InvalidOption(f"{owner}: {self.name}={value!r} should be {self.type_name}{self._bounds(' ')}: {self.doc}")

    @property
    def type_name(self) -> str:
        """The annotation as a reader would write it."""
        return self.type.__name__ if isinstance(self.type, type) and not typing.get_args(self.type) else str(self.type)

    @staticmethod
    def _is_number(value: Any, kind: type) -> bool:
        if isinstance(value, Tensor):  # a learning rate on the device, as torch allows
            return kind is float and value.ndim == 0
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)

    def _is_tuple(self, value: Any, kind: Any) -> bool:
        args = typing.get_args(kind)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        fits = len(value) >= 1 if args[-1] is Ellipsis else len(value) == len(args)
        is_entry = self._is_tuple if typing.get_origin(args[0]) is tuple else self._is_number
        return fits and all(is_entry(v, args[0]) for v in value)

    def _tuple(self, value: Any, kind: Any, owner: str) -> tuple[Any, ...]:
        entry = typing.get_args(kind)[0]
        if typing.get_origin(entry) is tuple:
            return tuple(self._tuple(row, entry, owner) for row in value)
        return tuple(self._in_range(entry(v), owner) for v in value)

    def _in_range(self, value: Any, owner: str) -> Any:
        x = float(value)
        inside = (
            not math.isnan(x)
            and (self.ge is None or x >= self.ge)
            and (self.gt is None or x > self.gt)
            and (self.le is None or x <= self.le)
            and (self.lt is None or x < self.lt)
        )
        if not inside:
            bounds = self._bounds() or "be a number"
            raise InvalidOption(f"{owner}: {self.name}={value!r} is out of range: it must be {bounds} ({self.doc})")
        return value

    def _bounds(self, before: str = "") -> str:
        signs = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        text = " and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)
        return before + text if text else ""


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def holds_real_numbers(declared: Hyper) -> bool:
    """Whether a hyper-parameter is a real number, or several: what changes by degrees."""
    kinds = _alternatives(declared.type)
    return any(kind is float or (typing.get_origin(kind) is tuple and float in typing.get_args(kind)) for kind in kinds)


def _listed(choices: Sequence[Any]) -> str:
    return ", ".join(map(repr, choices))


def hyper(
    default: Any,
    doc: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Sequence[Any] | None = None,
    search: tuple[float, float] | None = None,
    examples: Sequence[Any] = (),
    common: bool = False,
) -> Any:
    """Declare a hyper-parameter; the annotation beside it gives its type.

    With ``common`` all groups must have the same value: it acts on the model as a whole. ``examples`` are values of
    other forms than the default's, such as a table or a name, for the conformance kit to try.

    Example:
        >>> lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    """
    choices = None if choices is None else tuple(choices)
    return Hyper(
        default=default,
        doc=doc,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        choices=choices,
        search=search,
        examples=tuple(examples),
        common=common,
    )


def l2(default: float) -> Any:
    """Declare ``weight_decay`` as L2 regularisation: the core adds ``weight_decay * p`` to the gradient."""
    return Hyper(default=default, doc="L2 coefficient, added to the gradient", ge=0, decay="l2")


def decoupled(default: float) -> Any:
    """Declare a decoupled ``weight_decay``: the core shrinks p by ``1 - lr * weight_decay`` before the rule.

    With an option ``decoupled_weight_decay`` beside it, the user decides between this and :func:`l2`; with one
    named ``fixed_decay``, whether lr stays out of the factor.
    """
    return Hyper(default=default, doc="decoupled decay, times lr", ge=0, decay="decoupled")


#: An option's name, or a function of the group; None: always.
When: TypeAlias = Callable[[Group], bool] | str | None


def _holds(when: When, group: Group) -> bool:
    if when is None:
        return True
    return bool(group[when] if isinstance(when, str) else when(group))


@dataclass(frozen=True, kw_only=True)
class State:
    """A buffer that a method keeps, per parameter or for the whole model.

    How it is stored follows from this in :mod:`optim_core.methods.states`.

    Attributes: as the arguments of :func:`state`.
    """

    doc: str
    name: str = ""
    start: float | str = 0.0
    level: Level | Callable[[Group], str] = Level.ELEMENT
    when: When = None
    every: str | None = None
    copies: str | None = None
    shape: Callable[[tuple[int, ...], Group], Any] | None = None
    stored: str | None = None

    def present(self, group: Group) -> bool:
        """Return True if a parameter of this group has the state, as far as ``when`` says."""
        return _holds(self.when, group)

    def level_in(self, group: Group) -> Level:
        """The level on which a group's parameters have the state, where it has no ``shape`` of its own."""
        return _level(self.level(group), self.name) if callable(self.level) else self.level


LEVELS = {"element": Level.ELEMENT, "row": Level.ROW, "tensor": Level.TENSOR, "whole": Level.WHOLE}


def _level(name: object, owner: str) -> Level:
    if not isinstance(name, str) or name not in LEVELS:
        near = did_you_mean(name, LEVELS) if isinstance(name, str) else ""
        raise RuleError(f"state {owner!r}: level={name!r} is not one of {', '.join(map(repr, LEVELS))}.{near}")
    return LEVELS[name]


def state(
    doc: str,
    *,
    start: float | str = 0.0,
    level: Literal["element", "row", "tensor", "whole"] | Callable[[Group], str] = "element",
    when: When = None,
    every: str | None = None,
    copies: str | None = None,
    shape: Callable[[tuple[int, ...], Group], Any] | None = None,
    stored: Literal["int8", "uint8", "float16", "float32"] | None = None,
) -> State:
    """Declare a state.

    Args:
        doc: meaning, one line.
        start: a number; ``"p"`` for the parameter's value; or a hyper-parameter's name. (A rule that starts from
            the first gradient asks for ``first``.)
        level: one number per ``element``, ``row`` (index of dimension 0) or ``tensor``, or one for the ``whole`` model;
            or a function of the group that returns one of the first three.
        when: an option's name, or a function of the group; a parameter has the state only if it is true.
        every: an option's name: only elements 0, n, 2n, ... of the flattened tensor.
        copies: an option's name: a list of states, as many as that number says, or one per number of that tuple.
        shape: the shape (or list of shapes, or None for no such state) from the parameter's shape and the group. The
            rule hands such a state to functions of stacks (:func:`optim_core.rules.stacked`), unless for this
            parameter it has the parameter's own shape.
        stored: torch's name of the type in which it is stored instead of that of arithmetic. Only for a state with a
            ``shape`` that is never the parameter's, so that none but functions of stacks read and write it.

    Example:
        >>> exp_avg = state("moving average of the gradient")
    """
    if stored is not None and shape is None:
        raise RuleError(f"state {doc!r}: stored={stored!r} is for states with a shape of their own: give shape=")
    declared_level = level if callable(level) else _level(level, doc)
    return State(
        doc=doc, start=start, level=declared_level, when=when, every=every, copies=copies, shape=shape, stored=stored
    )


@dataclass(frozen=True, kw_only=True)
class Extra:
    """An input of the rule that :meth:`RuleOptimizer.extras` computes before each step."""

    doc: str
    name: str = ""
    when: When = None

    def present(self, group: Group) -> bool:
        """Return True if the method may compute it for the parameters of this group."""
        return _holds(self.when, group)


def extra(doc: str, *, when: When = None) -> Extra:
    """Declare an input beside the gradient, such as an estimate of curvature; one number per element.

    Args:
        doc: meaning, one line.
        when: an option's name, or a function of the group; where it is false for all groups, steps go as without it.
    """
    return Extra(doc=doc, when=when)


def argument(*, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """Declare an argument of every constructor: an option that all methods share, or what is not an option.

    Type checkers read ``default`` and ``kw_only`` as those of :func:`dataclasses.field`.
    """
    return replace(default, kw_only=kw_only) if isinstance(default, Hyper) else default


def named(declaration: Any, name: str, annotation: Any) -> Any:
    """Return the declaration with its name (and, for a hyper-parameter, its type) filled in, its default checked."""
    if isinstance(declaration, Hyper):
        if annotation is None:
            raise RuleError(f"{name} = hyper(...) needs a type beside it, such as `{name}: float = hyper(...)`")
        result = replace(declaration, name=name, type=annotation)
        if result.default is not REQUIRED:
            result.check(result.default, "default")
        return result
    return replace(declaration, name=name)
