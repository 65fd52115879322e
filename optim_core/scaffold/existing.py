"""What there is to say of a class that exists already: where it comes from, its licence, its state and its needs.

Whoever names a class in a command wants it imported, so it is: built, and taken through two steps.
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import importlib_metadata
import torch
from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.catalog.sizes import SIZES, element_count
from optim_core.catalog.strangers import contained, described
from optim_core.catalog.targets import import_target, is_target
from optim_core.optimizers.needs import needs_of
from optim_core.scaffold.errors import ScaffoldError
from optim_core.scaffold.licensing import checked
from optim_core.text import one_line

#: Shapes by which every size of :data:`~optim_core.catalog.sizes.SIZES` can be told from every other.
_SHAPES = ((6, 4), (5,), (3, 2, 2), ())


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A plain optimizer that another distribution has.

    Attributes:
        target: the class as ``"module:Class"``.
        requirement: the distribution with its version as the least.
        license: what the distribution declares; empty if that is no SPDX expression.
        summary: one line.
        needs: as in a spec.
        state: as in a spec; without what has a size of its own.
        unsized: the names of these.
    """

    target: str
    requirement: str
    license: str
    summary: str
    needs: tuple[Need, ...]
    state: Mapping[str, str]
    unsized: tuple[str, ...]

    @property
    def module(self) -> str:
        """The module of the class."""
        return self.target.partition(":")[0]

    @property
    def class_name(self) -> str:
        """The class, without its module."""
        return self.target.partition(":")[2]


def inspected(target: str) -> Existing:
    """Import a class, build it, step it, and say what a spec says of it.

    Raises:
        ScaffoldError: there is no such class, no distribution has it, or it cannot be built or stepped.
    """
    cls = _class_at(target)
    distribution = _distribution_of(target)
    version = distribution.version.partition("+")[0]
    graph, optimizer, params = _stepped(cls)
    state, unsized = _sizes(optimizer, params)
    needs: set[Need] = {*needs_of(optimizer)}
    if graph:
        needs.add("create_graph")
    return Existing(
        target=target,
        requirement=f"{distribution.name}>={version}",
        license=_license_of(distribution),
        summary=_summary_of(cls, distribution.name),
        needs=tuple(sorted(needs)),
        state=state,
        unsized=unsized,
    )


def _class_at(target: str) -> type[Optimizer]:
    if not is_target(target):
        raise ScaffoldError(f"--from-class {one_line(target)} should be module:Class, such as my_library.optim:MyAdam")
    with contained(partial(_unimportable, target)):
        cls = import_target(target)
    if not (inspect.isclass(cls) and issubclass(cls, Optimizer)):
        raise ScaffoldError(
            f"{target} is no torch.optim.Optimizer: name a class that derives from it, or begin a method anew with "
            "--kind optimizer, wrapper or scheduler"
        )
    return cls


def _unimportable(target: str, reason: str) -> ScaffoldError:
    return ScaffoldError(f"{target} cannot be imported here ({reason}): install what has it, in this environment")


# where it comes from -------------------------------------------------------------------------------------------
def _distribution_of(target: str) -> importlib_metadata.Distribution:
    module = target.partition(":")[0]
    top = module.partition(".")[0]
    names = importlib_metadata.packages_distributions().get(top)
    if names:
        distribution: importlib_metadata.Distribution = importlib_metadata.Distribution.from_name(min(names))
        return distribution
    file = Path(getattr(sys.modules[module], "__file__", None) or "").resolve()
    for linked, folder in _editable():
        if folder in file.parents:
            return linked
    raise ScaffoldError(
        f"the module {module!r} belongs to no installed distribution, so that no pack can require it: install it with "
        "pip, or begin with --kind plain and put the class into the new pack"
    )


def _editable() -> Iterator[tuple[importlib_metadata.Distribution, Path]]:
    """The distributions that are installed as links to folders, whose files their metadata do not list."""
    for distribution in importlib_metadata.Distribution.discover():
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            yield distribution, Path(url2pathname(urlparse(origin["url"]).path)).resolve()


def _license_of(distribution: importlib_metadata.Distribution) -> str:
    """What the metadata declare, in the field of today or in the older one."""
    for field in ("License-Expression", "License"):
        try:
            return checked(distribution.metadata.get(field) or "")
        except ScaffoldError:
            continue
    return ""


def _summary_of(cls: type, distribution: str) -> str:
    first = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    return textwrap.shorten(one_line(first), 90, placeholder=" ...") or f"{cls.__name__} of {distribution}."


# what it keeps and needs ---------------------------------------------------------------------------------------
def _stepped(cls: type[Optimizer]) -> tuple[bool, Optimizer, list[torch.nn.Parameter]]:
    """Whether it differentiates the gradients; it after two steps; its parameters."""
    problems = []
    for graph in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            params = [torch.nn.Parameter(torch.rand(shape) + 0.5) for shape in _SHAPES]
        optimizer = _built(cls, params)
        try:
            for _ in range(2):
                _step(optimizer, params, graph=graph)
        except Exception as problem:  # noqa: BLE001 - anybody's code
            problems.append(described(problem))
        else:
            return graph, optimizer, params
    raise ScaffoldError(
        f"{cls.__name__} takes no step, neither after backward() nor after backward(create_graph=True) "
        f"({problems[0]}): begin with --kind plain and a class that does"
    )


def _built(cls: type[Optimizer], params: list[torch.nn.Parameter]) -> Optimizer:
    build: Any = cls
    try:
        optimizer: Optimizer = build(params)
    except Exception as problem:
        raise ScaffoldError(
            f"{cls.__name__}(params) fails ({described(problem)}): a pack's class is built from parameters, and all "
            f"its options have defaults. Derive one that gives them, such as `class Mine({cls.__name__}): def "
            "__init__(self, params, lr=1e-3)`, and name that"
        ) from problem
    return optimizer


def _step(optimizer: Optimizer, params: list[torch.nn.Parameter], *, graph: bool) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = torch.stack([p.pow(3).sum() for p in params]).sum()
        torch.autograd.backward(loss, create_graph=graph)
        return loss

    with torch.enable_grad(), warnings.catch_warnings():
        # a graph in p.grad is a cycle, of which torch warns; zero_grad undoes it
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph", UserWarning)
        closure()
        optimizer.step(closure)
        optimizer.zero_grad()


def _sizes(optimizer: Optimizer, params: list[torch.nn.Parameter]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The size of each state, and the names of those that follow no rule."""
    kept = [optimizer.state.get(p, {}) for p in params]
    names = {name: None for state in kept for name, value in state.items() if isinstance(value, torch.Tensor)}
    sizes: dict[str, str] = {}
    for name in names:
        counts = [state[name].numel() if isinstance(state.get(name), torch.Tensor) else 0 for state in kept]
        fitting = [size for size in SIZES if [element_count(size, shape) for shape in _SHAPES] == counts]
        if fitting:
            sizes[name] = fitting[0]
    return sizes, tuple(name for name in names if name not in sizes)
