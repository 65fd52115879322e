"""Contenders as they are written on the command line.

    adamw                                        a name
    second_order:sophiah   torch:adamw           in a pack, or torch's own
    sgd,momentum=0.9,nesterov=true               with options
    adamw,betas=(0.9,0.95)                       a tuple (quote it in a shell)
    sgd,momentum=0.9+sam,rho=0.1+lookahead,k=5   wrapped by sam, and that by lookahead
    adamw,lr=0.001   adamw,lr=(0.001,0.01)       these learning rates instead of the range

Values are numbers, `true`, `false`, `none`, tuples in brackets, or words. A `+` before a digit belongs to the number
(`eps=1e+2`); any other starts a wrapper.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from optim_core.compare.errors import ContenderSyntaxError

Value = bool | int | float | str | None | tuple["Value", ...]

_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}
_EXAMPLE = "Example: sgd,momentum=0.9,nesterov=true+lookahead,k=5"


@dataclass(frozen=True)
class Part:
    """One name with its options: an optimizer or a wrapper."""

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{key}={_text(value)}" for key, value in self.options)])


@dataclass(frozen=True)
class Contender:
    """An optimizer, its wrappers from the inside out, and learning rates of its own, if it has any."""

    optimizer: Part
    wrappers: tuple[Part, ...] = ()
    lrs: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The canonical text, without learning rates, for tables and results."""
        return "+".join(str(part) for part in (self.optimizer, *self.wrappers))

    def with_lrs(self, lrs: str) -> str:
        """The text of the same contender with learning rates of its own, for messages."""
        return "+".join([f"{self.optimizer},lr={lrs}", *map(str, self.wrappers)])


def parse(text: str) -> Contender:
    """Read one contender.

    Args:
        text: for example `sgd,momentum=0.9+lookahead,k=5`; the module's docstring has the syntax.

    Raises:
        ContenderSyntaxError: the text cannot be read; the message shows an example.

    Example:
        >>> parse("SGD, nesterov=true, momentum=0.9 + Lookahead").label
        'SGD,momentum=0.9,nesterov=true+Lookahead'
    """
    first, *rest = (_part(piece, text) for piece in _split(text, "+"))
    options = dict(first.options)
    lrs = _lrs(options.pop("lr"), text) if "lr" in options else ()
    for wrapper in rest:
        if "lr" in dict(wrapper.options):
            raise ContenderSyntaxError(
                f"{text!r}: the learning rate belongs to the optimizer, not to the wrapper {wrapper.name!r}. "
                f"Write {first.name},lr=... before the first '+'."
            )
    return Contender(replace(first, options=tuple(options.items())), tuple(rest), lrs)


def _part(piece: str, text: str) -> Part:
    name, *assignments = (word.strip() for word in _split(piece, ","))
    if not re.fullmatch(r"[A-Za-z_][\w.\- ]*(:[\w.\- ]+)?", name):
        where = "a name is missing" if not name else f"{name!r} is not a name"
        raise ContenderSyntaxError(f"cannot read {text!r}: {where}. {_EXAMPLE}")
    options: dict[str, Value] = {}
    for assignment in assignments:
        key, equals, value = (word.strip() for word in assignment.partition("="))
        if not (equals and key.isidentifier() and value):
            raise ContenderSyntaxError(f"cannot read {assignment!r} in {text!r}: options are key=value. {_EXAMPLE}")
        if key in options:
            raise ContenderSyntaxError(f"{text!r} sets {key!r} twice. Keep one of them.")
        options[key] = _value(value, text)
    return Part(name, tuple(sorted(options.items())))


def _split(text: str, separator: str) -> Iterator[str]:
    """Split at the separators outside brackets; a `+` that belongs to a number is not one."""
    depth, start = 0, 0
    for position, char in enumerate(text):
        if char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == separator and depth == 0 and not (char == "+" and text[position + 1 : position + 2].isdigit()):
            yield text[start:position]
            start = position + 1
        if depth < 0:
            break
    if depth != 0:
        raise ContenderSyntaxError(f"cannot read {text!r}: a bracket is not closed, or was never opened. {_EXAMPLE}")
    yield text[start:]


def _value(text: str, whole: str) -> Value:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text[0] in "([":
        if text[-1] not in ")]":
            raise ContenderSyntaxError(f"cannot read {text!r} in {whole!r}: nothing may follow the bracket. {_EXAMPLE}")
        return tuple(_value(item.strip(), whole) for item in _split(text[1:-1], ",") if item.strip())
    try:
        number = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return number if isinstance(number, int | float | str) else text


def _lrs(value: Value, text: str) -> tuple[float, ...]:
    values = value if isinstance(value, tuple) else (value,)
    lrs = tuple(float(lr) for lr in values if isinstance(lr, int | float) and not isinstance(lr, bool))
    if len(lrs) != len(values) or not lrs or any(not math.isfinite(lr) or lr < 0 for lr in lrs):
        raise ContenderSyntaxError(
            f"{text!r}: lr={_text(value)} is neither a number >= 0 nor several of them. Example: adamw,lr=(0.001,0.01)"
        )
    return tuple(sorted(set(lrs)))


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(_text(item) for item in value) + ")"
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
