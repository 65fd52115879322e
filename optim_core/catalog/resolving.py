"""Whether targets exist: a look from outside, which imports nothing, and the import itself."""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Protocol

from optim_core.catalog.additions import Addition
from optim_core.catalog.packs import Pack
from optim_core.catalog.specs import Spec
from optim_core.catalog.strangers import described, output_aside
from optim_core.errors import OptimCoreError

#: What may give a module names that its statements do not show.
_DYNAMIC = re.compile(rb"\b(globals|vars|setattr|exec|__getattr__)\(|import \*|^\s+global ", re.MULTILINE)


class Named(Protocol):
    """A method, or another thing that a pack brings."""

    @property
    def pack(self) -> Pack:
        """The pack that brings it."""

    @property
    def spec(self) -> Spec | Addition:
        """What the pack says of it."""

    @property
    def cls(self) -> Any:
        """The class, if it is at hand."""

    @property
    def full_name(self) -> str:
        """Pack and name."""


@dataclass(frozen=True)
class Resolved:
    """What became of a target.

    Attributes:
        entry: the method.
        problem: why there is no such class; empty if there is.
        seconds: the time that the import took; None without one.
    """

    entry: Named
    problem: str = ""
    seconds: float | None = None


def looked_at(entries: Iterable[Named]) -> list[Resolved]:
    """The targets that cannot be there, as far as files tell: no such module, or one without such a name in it."""
    judge = cache(_absent)  # for this look alone: files come and go
    found = ((entry, judge(entry.spec.target)) for entry in entries if entry.cls is None)
    return [Resolved(entry, problem) for entry, problem in found if problem]


def imported(entries: Iterable[Named], load: Callable[[Named], object]) -> list[Resolved]:
    """Import all targets, with the time that each takes; ``load`` raises whatever is wrong with one."""
    results = []
    for entry in entries:
        start, problem = time.perf_counter(), ""
        try:
            with output_aside():
                load(entry)
        except KeyboardInterrupt:
            raise
        except BaseException as cause:  # noqa: BLE001 - whatever a stranger's module does, the next one has its turn
            problem = str(cause) if isinstance(cause, OptimCoreError) else described(cause)
        results.append(Resolved(entry, problem, time.perf_counter() - start))
    return results


def _absent(target: str) -> str:
    module, _, name = target.partition(":")
    if module in sys.modules:
        return "" if hasattr(sys.modules[module], name) else f"{module} has no {name}"
    spec = _find(module)
    if spec is None:
        return f"there is no module {module}"
    names = _names_in(spec.origin) if spec.origin is not None else None
    return "" if names is None or name in names else f"{module} has no {name}"


def _find(module: str) -> ModuleSpec | None:
    """A module's spec, without importing the packages that it lies in, as importlib.util.find_spec does."""
    parent, _, _ = module.rpartition(".")
    path = None
    if parent:
        found = _find(parent)
        if found is None or found.submodule_search_locations is None:
            return None
        path = list(found.submodule_search_locations)
    candidates = (finder.find_spec(module, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next((spec for spec in candidates if spec is not None), None)


def _names_in(origin: str) -> frozenset[str] | None:
    """The names that a module's source defines or imports; None if that cannot be told from outside."""
    try:
        text = Path(origin).read_bytes()
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):  # an extension module, or a broken one: importing it tells more
        return None
    if _DYNAMIC.search(text):
        return None
    names: set[str] = set()
    for statement in tree.body:
        # what stands inside a function or a class is not the module's; inside an `if` or a `try` it may be
        closed = isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for node in (statement,) if closed else ast.walk(statement):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    return frozenset(names)
