"""The hooks that a pack implements.

A pack's manifest is a light module, named by an entry point of the group ``optim_core.packs``, that imports neither
torch nor its own methods::

    from optim_core.catalog import OptimizerSpec, hookimpl

    OPTIM_CORE_API = 1  # the version of the hooks that the pack was made for


    @hookimpl
    def optim_core_optimizers():
        return [OptimizerSpec(name="lion", target="acme.lion:Lion", summary="...", license="MIT")]

A pack implements the hooks of what it brings. A later version of a hook may add arguments, never remove any.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from optim_core.catalog.additions import ColumnSpec, GroupsSpec, TaskSpec
from optim_core.catalog.specs import OptimizerSpec, SchedulerSpec, TransformSpec, WrapperSpec

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


@hookspec
def optim_core_transforms() -> Iterable[TransformSpec]:  # type: ignore[empty-body]
    """Return the specs of the pack's transforms, which go wherever wrappers go. Since version 1.

    Example::

        @hookimpl
        def optim_core_transforms():
            return [TransformSpec(name="signed", target="acme.signed:Signed", summary="Signs alone.", license="MIT")]


        create_optimizer(model, "sgd", wrappers=["signed"])
    """


@hookspec
def optim_core_tasks() -> Iterable[TaskSpec]:  # type: ignore[empty-body]
    """Return the pack's tasks for ``optim-core compare``. Since version 1.

    Example::

        @hookimpl
        def optim_core_tasks():
            return [TaskSpec(name="line", target="acme.tasks:line", summary="Fit a line.")]

        optim-core compare --task line adamw
    """


@hookspec
def optim_core_groups() -> Iterable[GroupsSpec]:  # type: ignore[empty-body]
    """Return the pack's rules for parameter groups. Since version 1.

    Example::

        @hookimpl
        def optim_core_groups():
            return [GroupsSpec(name="halves", target="acme.groups:halves", summary="Half the lr for biases.")]


        create_optimizer(model, "adamw", groups="halves")
    """


@hookspec
def optim_core_columns() -> Iterable[ColumnSpec]:  # type: ignore[empty-body]
    """Return the pack's columns for the table and the report of ``optim-core compare``. Since version 1.

    Example::

        @hookimpl
        def optim_core_columns():
            return [ColumnSpec(name="final_loss", target="acme.columns:final_loss", summary="Mean of the last losses.")]

        optim-core compare --column final_loss adamw
    """
