"""The way on for a name that `optim_core` does not have: a class of a pack, a function of another library."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from optim_core import habits
from optim_core.catalog import known
from optim_core.catalog.kinds import KINDS, getter_call
from optim_core.catalog.registry import registry
from optim_core.errors import OptimCoreError, PackWarning
from optim_core.names import did_you_mean, normalise


def way_to(name: str, public: Iterable[str]) -> str:
    """What to append to the error for a name that `optim_core` does not have; empty if there is nothing to say.

    Args:
        name: as it was asked for, such as ``"AdamP"`` or ``"create_optimizer_v2"``.
        public: the names that there are.
    """
    if name in habits.FUNCTIONS:
        return f". Here it is {habits.FUNCTIONS[name]}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PackWarning)
            return _installed(name) or _first_party(name) or _near(name, public)
    except OptimCoreError:  # OPTIM_CORE_STRICT and a broken pack: `get` will say so
        return ""


def _installed(name: str) -> str:
    form = normalise(name)
    found = [
        entry
        for entry in registry().entries
        if form in map(normalise, (entry.spec.class_name, entry.spec.name, *entry.spec.aliases))
    ]
    found.sort(key=lambda entry: entry.spec.class_name != name)
    if not found:
        return ""
    spec = found[0].spec
    module = spec.target.partition(":")[0]
    package = module.partition(".")[0] if module.startswith("optim_core_") else module
    direct = f", or: from {package} import {spec.class_name}" if found[0].pack.name in known.packs() else ""
    return f". Methods live in packs: optim_core.{getter_call(spec)}{direct}"


def _first_party(name: str) -> str:
    method = known.lookup(name)
    if method is None:
        return ""
    getter = KINDS[method.kind].getter
    return f". Install its pack: {known.install_command(method.pack)}, then optim_core.{getter}({method.name!r})"


def _near(name: str, public: Iterable[str]) -> str:
    near = did_you_mean(name, public)
    return f".{near}" if near else ""
