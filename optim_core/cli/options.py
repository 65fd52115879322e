"""The options of a class: for a table, and for machines."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optim_core.cli.output import plain
from optim_core.text import literal


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option.

    Attributes:
        name: its name.
        required: whether it has no default.
        default: its value when none is given.
        bounds: each bound by its sign: ``{">=": 0}``.
        choices: the values allowed, if they are few.
        search: (low, high), the range worth searching.
        meaning: one line.
    """

    name: str
    required: bool
    default: Any
    bounds: Mapping[str, float] = field(default_factory=dict)
    choices: tuple[Any, ...] = ()
    search: tuple[float, float] | None = None
    meaning: str = ""

    def row(self) -> tuple[str, str, str, str]:
        """Name, default, range and meaning, for people."""
        bounds = " ".join(f"{sign} {bound:g}" for sign, bound in self.bounds.items())
        choices = " or ".join(map(literal, self.choices))
        search = "; worth trying: {} to {}".format(*map(literal, self.search)) if self.search else ""
        return self.name, self._default(), bounds or choices, self.meaning + search

    def _default(self) -> str:
        return "required" if self.required else _one_line(literal(self.default))

    def as_dict(self) -> dict[str, Any]:
        """The same for machines; ``default`` is missing where one must be given."""
        given = {} if self.required else {"default": plain(self.default)}
        return {
            "name": self.name,
            "required": self.required,
            **given,
            "range": dict(self.bounds),
            "choices": plain(self.choices),
            "search": plain(self.search),
            "meaning": self.meaning,
        }


def options_of(cls: Any) -> Iterator[Option]:
    """The declared options of a class, or the arguments of one that declares none."""
    hypers = getattr(cls, "hypers", None)
    if hypers is None:
        for parameter in list(inspect.signature(cls).parameters.values())[1:]:
            yield Option(name=parameter.name, required=parameter.default is parameter.empty, default=parameter.default)
        return
    from optim_core.methods.declarations import REQUIRED

    for hyper in hypers.values():
        signs = {">=": hyper.ge, ">": hyper.gt, "<=": hyper.le, "<": hyper.lt}
        yield Option(
            name=hyper.name,
            required=hyper.default is REQUIRED,
            default=hyper.default,
            bounds={sign: bound for sign, bound in signs.items() if bound is not None},
            choices=hyper.choices or (),
            search=hyper.search,
            meaning=hyper.doc,
        )


def _one_line(text: str) -> str:
    return " ".join(text.split())
