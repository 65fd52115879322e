"""The hooks that a pack implements.

A pack's manifest is a light module, named by an entry point of the group ``optim_core.packs``, that imports neither
torch nor its own methods::

    from optim_core.catalog.hookspecs import hookimpl
    from optim_core.catalog.specs import OptimizerSpec

    OPTIM_CORE_API = 1  # the version of the hooks that the pack was made for


    @hookimpl
    def optim_core_optimizers():
        return [OptimizerSpec(name="lion", target="acme.lion:Lion", summary="...", license="MIT")]

Hooks only ever gain arguments; what a pack leaves out, it does not bring.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, WrapperSpec

#: Name of pluggy's project and of the entry-point group ``optim_core.packs``.
PROJECT = "optim_core"

#: The newest version of the hooks that this core knows.
API_VERSION = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def optim_core_optimizers() -> Iterable[OptimizerSpec]:  # type: ignore[empty-body]
    """The optimizers that a pack brings. Added in version 1."""


@hookspec
def optim_core_schedulers() -> Iterable[SchedulerSpec]:  # type: ignore[empty-body]
    """The learning-rate schedulers that a pack brings. Added in version 1."""


@hookspec
def optim_core_wrappers() -> Iterable[WrapperSpec]:  # type: ignore[empty-body]
    """The wrappers that a pack brings: what stands around another optimizer. Added in version 1."""
