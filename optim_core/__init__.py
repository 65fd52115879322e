"""optim-core: a small core for PyTorch optimizers, and packs of methods for it.

Importing it imports neither torch nor any pack; each public name is imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from optim_core._version import __version__

if TYPE_CHECKING:
    from optim_core.api import (
        find,
        get,
        get_scheduler,
        get_supported_lr_schedulers,
        get_supported_optimizers,
        get_wrapper,
        info,
        load_optimizer,
    )
    from optim_core.catalog import licenses
    from optim_core.errors import NonCommercialWarning, OptimCoreError
    from optim_core.factory import create_optimizer
    from optim_core.methods import decoupled, extra, hyper, l2, state
    from optim_core.optimizers import RuleOptimizer, explain
    from optim_core.stepping import minimize
    from optim_core.wrapping import Wrapper

__all__ = [
    "NonCommercialWarning",
    "OptimCoreError",
    "RuleOptimizer",
    "Wrapper",
    "__version__",
    "create_optimizer",
    "decoupled",
    "explain",
    "extra",
    "find",
    "get",
    "get_scheduler",
    "get_supported_lr_schedulers",
    "get_supported_optimizers",
    "get_wrapper",
    "hyper",
    "info",
    "l2",
    "licenses",
    "load_optimizer",
    "minimize",
    "state",
]

#: The wing, or the module, that each public name is imported from.
_HOMES = {
    "NonCommercialWarning": "errors",
    "OptimCoreError": "errors",
    "RuleOptimizer": "optimizers",
    "Wrapper": "wrapping",
    "create_optimizer": "factory",
    "decoupled": "methods",
    "explain": "optimizers",
    "extra": "methods",
    "find": "api",
    "get": "api",
    "get_scheduler": "api",
    "get_supported_lr_schedulers": "api",
    "get_supported_optimizers": "api",
    "get_wrapper": "api",
    "hyper": "methods",
    "info": "api",
    "l2": "methods",
    "licenses": "catalog",
    "load_optimizer": "api",
    "minimize": "stepping",
    "state": "methods",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
