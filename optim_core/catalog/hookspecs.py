"""The hooks that a pack implements.

A pack's manifest is a light module, named by an entry point of the group ``optim_core.packs``, that imports neither
torch nor its own methods::

    from optim_core.catalog import OptimizerSpec, hookimpl

    OPTIM_CORE_API = 1  # the version of the hooks that the pack was made for


    @hookimpl
    def optim_core_optimizers():
        return [OptimizerSpec(name="lion", target="acme.lion:Lion", summary="...", license="MIT")]

A pack implements the hooks of the kinds that it brings. A later version of a hook may add arguments, never remove any.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, WrapperSpec

#: The name of pluggy's project and the first half of the entry-point group ``optim_core.packs``.
PROJECT = "optim_core"

#: The newest version of the hooks that this core knows.
API_VERSION = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def optim_core_optimizers() -> Iterable[OptimizerSpec]:  # type: ignore[empty-body]
    """Return the specs of the pack's optimizers. Since version 1."""


@hookspec
def optim_core_schedulers() -> Iterable[SchedulerSpec]:  # type: ignore[empty-body]
    """Return the specs of the pack's learning-rate schedulers. Since version 1."""


@hookspec
def optim_core_wrappers() -> Iterable[WrapperSpec]:  # type: ignore[empty-body]
    """Return the specs of the pack's wrappers: optimizers around another optimizer. Since version 1."""
