"""What a pack says of itself and of its methods, before any of them is imported."""

from __future__ import annotations

import functools
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import importlib_metadata
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from optim_core.catalog import spdx
from optim_core.catalog._known import KNOWN
from optim_core.catalog.registry import registry
from optim_core.names import normalise
from optim_core.testing.check import check, fail, require
from optim_core.testing.subject import PackSubject, Subject

#: The most milliseconds that importing a manifest takes: every listing waits for all of them.
_MANIFEST_MS = 50
_TAG = re.compile(r"SPDX-License-Identifier:\s*([^\s*#/].*?)\s*(?:\*/|-->|$)", re.MULTILINE)


def has_spec(subject: Any) -> bool:
    """A method of a pack."""
    return isinstance(subject, Subject) and subject.spec is not None


@check(has_spec, steps=False)
def check_target_is_what_its_kind_says(subject: Subject) -> None:
    """The spec's target can be imported, and is of the kind that the spec says: an optimizer, scheduler or wrapper.

    Remedy: correct ``target="module:Class"``, or use OptimizerSpec, SchedulerSpec or WrapperSpec as it fits.
    """
    require(not subject.broken, subject.broken)
    bases = {"optimizer": Optimizer, "scheduler": LRScheduler}
    base = bases.get(subject.kind)
    if base is not None:
        fits = isinstance(subject.target, type) and issubclass(subject.target, base)
        require(fits, f"{subject.spec.target} is no {base.__name__}")  # type: ignore[union-attr]
    require(callable(subject.target), f"{subject.target!r} cannot be called")
    for name in getattr(subject.spec, "constructors", ()):
        require(callable(getattr(subject.target, name, None)), f"it has no constructor {name!r}, which its spec names")


@check(has_spec, steps=False)
def check_class_is_documented(subject: Subject) -> None:
    """The class has a docstring, its name is the target's, and each option and state says what it is in one line.

    Remedy: write what it does, its formulas, an example and the source; ``hyper(0.1, "step size")``.
    """
    spec: Any = subject.spec
    own = vars(subject.target).get("__doc__") if isinstance(subject.target, type) else inspect.getdoc(subject.target)
    require(bool(own and own.strip()), f"{spec.target} has no docstring")
    found = getattr(subject.target, "__name__", "")
    require(found == spec.class_name, f"the target {spec.target} is called {found}")
    if subject.is_declared:
        for name, declared in {**subject.hypers, **subject.target.method.states}.items():
            plain = bool(declared.doc) and declared.doc.isprintable()
            require(plain, f"{name} has no one-line description: {declared.doc!r}")


@check(has_spec, steps=False)
def check_licence_is_the_same_everywhere(subject: Subject) -> None:
    """The licence is the same in the spec, in the distribution's metadata and in the source, and exists at SPDX.

    Remedy: one SPDX expression in the manifest's ``license=``, in ``[project] license =`` and in the source's
    ``SPDX-License-Identifier``.
    """
    spec: Any = subject.spec
    entry: Any = subject.entry
    for part in re.split(r" (?:AND|OR) |[()]", spec.license):
        known = not part.strip() or spdx.is_known(part.strip())
        require(known, f"its spec's licence {part.strip()!r} is no SPDX identifier")
    others = {}
    if _is_of(entry.pack.distribution, spec.target) and entry.pack.license:
        others[f"the metadata of {entry.pack.label}"] = entry.pack.license
    others |= {f"the source {path.name}": tag for path, tag in _tags(subject.target)}
    for where, licence in others.items():
        require(spdx.is_same(spec.license, licence), f"the spec says {spec.license}, {where} says {licence}")


def _is_of(distribution: str, target: str) -> bool:
    """Whether a distribution brings the package of a target."""
    if not distribution:
        return False
    package = target.partition(":")[0].partition(".")[0]
    brought = _distributions().get(package, [])
    return not brought or any(normalise(name) == normalise(distribution) for name in brought)


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib_metadata.packages_distributions()


def _tags(cls: Any) -> list[tuple[Path, str]]:
    """The licence that the source of a class says that it is under."""
    try:
        path = Path(inspect.getsourcefile(cls) or "")
        text = path.read_text(encoding="utf-8")
    except (TypeError, OSError, UnicodeDecodeError):
        return []
    return [(path, tag) for tag in _TAG.findall(text)[:1]]


@check(has_spec, steps=False)
def check_names_are_free(subject: Subject) -> None:
    """Its names and aliases are nobody else's: neither a first-party method's nor another installed pack's.

    Remedy: choose another name; an alias can simply be left out.
    """
    spec: Any = subject.spec
    entry: Any = subject.entry
    for name in (spec.name, *spec.aliases):
        known = KNOWN.get(normalise(name))
        ours = known is None or entry.pack.is_first_party
        require(ours, f"{name!r} is the name of {known and known[0]!r} in the first-party pack {known and known[2]!r}")
        claims = [e.full_name for e in registry().claimants(name, spec.kind)]
        require(claims in ([entry.full_name], []), f"{name!r} is claimed by {', '.join(claims)}")


# a pack as a whole ---------------------------------------------------------------------------------------------
def is_pack(subject: Any) -> bool:
    """A pack."""
    return isinstance(subject, PackSubject)


_TIMED = """
import sys, time
import optim_core.catalog
before = set(sys.modules)
start = time.process_time()
import importlib
importlib.import_module(sys.argv[1])
sys.stderr.write("MS %.3f %s" % (1e3 * (time.process_time() - start), "torch" in sys.modules))
"""


@check(is_pack, steps=False)
def check_manifest_is_light(subject: PackSubject) -> None:
    """The manifest imports no torch, prints nothing, and takes less than 50 ms: every command imports all of them.

    Remedy: import only optim_core.catalog in the manifest; name classes and sizes as texts, ``"module:Class"``.
    """
    module = manifest_of(subject.pack)
    if module is None:
        return
    best = float("inf")
    for _ in range(3):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", _TIMED, module], capture_output=True, text=True, env=environment, check=False
        )
        said, mark, result = done.stderr.rpartition("MS ")
        if not mark:
            fail(f"importing {module} fails: {done.stderr.strip().splitlines()[-1:]}")
        require(not done.stdout and not said, f"importing {module} prints {(done.stdout or said).strip()!r}")
        milliseconds, torch_is_there = result.split()
        require(torch_is_there == "False", f"importing {module} imports torch")
        best = min(best, float(milliseconds))
        if best < _MANIFEST_MS:
            return
    fail(f"importing {module} takes {best:.0f} ms")


def manifest_of(pack: Any) -> str | None:
    """The module of a pack's manifest; None if it was registered by hand."""
    from optim_core.catalog.discovery import GROUP

    for point in importlib_metadata.entry_points(group=GROUP, name=pack.name):
        return str(point.value)
    return None


@check(is_pack, steps=False)
def check_distribution_declares_its_licence(subject: PackSubject) -> None:
    """The distribution declares its licence as an SPDX expression, which a licence policy reads.

    Remedy: ``license = "Apache-2.0"`` under ``[project]`` in pyproject.toml.
    """
    pack = subject.pack
    if pack.distribution:
        require(bool(pack.license), f"the metadata of {pack.label} have no License-Expression")
