"""What a pack may bring beside methods: tasks, rules for parameter groups, columns of reports; known by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from optim_core.catalog.targets import is_target
from optim_core.errors import SpecError

_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A function of a pack that is used by its name. Use the subclass of its sort.

    Args:
        name: lower case, words joined by ``_``; compared as methods' names are. ``pack:name`` is the full form.
        target: the function as ``"module:function"``; imported when somebody asks for it.
        summary: one line in plain words.

    Raises:
        SpecError: a field has another form.
    """

    #: What it is called in messages, and the hook that returns it.
    noun: ClassVar[str]
    hook: ClassVar[str]

    name: str
    target: str
    summary: str

    def __post_init__(self) -> None:
        for field in ("name", "target", "summary"):
            value: object = getattr(self, field)
            if not isinstance(value, str) or not value or not value.isprintable():
                raise SpecError(f"{self.noun} {self.name!r:.60}: {field}={value!r:.60} should be one line of text")
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"{self.noun} {self.name!r}: a name is lower-case letters, digits and single '_' between")
        if not is_target(self.target):
            raise SpecError(f"{self.noun} {self.name!r}: target={self.target!r} should be 'module:function'")


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Addition):
    """A task for ``optim-core compare --task NAME``: a function that returns :class:`optim_core.compare.Task`.

    Example:
        >>> TaskSpec(name="line", target="acme.tasks:line", summary="Fit a line.").noun
        'task'
    """

    noun = "task"
    hook = "optim_core_tasks"


@dataclass(frozen=True, kw_only=True)
class GroupsSpec(Addition):
    """A rule for ``create_optimizer(groups=NAME)``: a function of the model that returns parameter groups.

    It is called as ``rule(model, lr=lr, weight_decay=weight_decay, **options)``, the two numbers as they are in force,
    or None where the method has none, and returns dicts whose ``params`` are pairs of name and parameter; ``why`` says
    in a few words what the group is, for ``explain``. Each trainable parameter is in one group.

    Example:
        >>> GroupsSpec(name="halves", target="acme.groups:halves", summary="Half the lr for the first half.").noun
        'group rule'
    """

    noun = "group rule"
    hook = "optim_core_groups"


@dataclass(frozen=True, kw_only=True)
class ColumnSpec(Addition):
    """A column for ``optim-core compare --column NAME``: a function of an optimizer's runs that returns a text.

    It is called with the runs at the best learning rate, each a mapping as in ``results.json``. The name, with spaces
    for ``_``, is the header.

    Example:
        >>> ColumnSpec(name="final_loss", target="acme.columns:final_loss", summary="Mean of the last losses.").noun
        'column'
    """

    noun = "column"
    hook = "optim_core_columns"


#: Every sort by its noun.
ADDITIONS: Mapping[str, type[Addition]] = {sort.noun: sort for sort in (TaskSpec, GroupsSpec, ColumnSpec)}
