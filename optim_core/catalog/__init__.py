"""The knowledge about methods that needs none of them imported: specs, hooks, packs, licences. Imports no torch."""

from optim_core.catalog import licenses
from optim_core.catalog.additions import ColumnSpec, GroupsSpec, TaskSpec
from optim_core.catalog.hookspecs import hookimpl
from optim_core.catalog.lazy_exports import exports
from optim_core.catalog.needs import NEEDS, Need
from optim_core.catalog.specs import OptimizerSpec, Paper, SchedulerSpec, TransformSpec, WrapperSpec

__all__ = [
    "NEEDS",
    "ColumnSpec",
    "GroupsSpec",
    "Need",
    "OptimizerSpec",
    "Paper",
    "SchedulerSpec",
    "TaskSpec",
    "TransformSpec",
    "WrapperSpec",
    "exports",
    "hookimpl",
    "licenses",
]
