"""What is known of methods before anything of them is imported: specs, hooks, packs, licences. Imports no torch."""

from optim_core.catalog import licenses
from optim_core.catalog.hookspecs import hookimpl
from optim_core.catalog.lazy_exports import exports
from optim_core.catalog.specs import NEEDS, Need, OptimizerSpec, Paper, SchedulerSpec, WrapperSpec

__all__ = [
    "NEEDS",
    "Need",
    "OptimizerSpec",
    "Paper",
    "SchedulerSpec",
    "WrapperSpec",
    "exports",
    "hookimpl",
    "licenses",
]
