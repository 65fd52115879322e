"""optim-core: a small core for PyTorch optimizers, and packs of methods for it.

Importing it imports neither torch nor any pack; each public name is imported when first used.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any, NoReturn

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
        prefer,
    )
    from optim_core.catalog import licenses
    from optim_core.errors import NonCommercialWarning, OptimCoreError
    from optim_core.factory import create_optimizer
    from optim_core.methods import decoupled, extra, hyper, l2, state
    from optim_core.optimizers import RuleOptimizer, explain
    from optim_core.peers import from_peer
    from optim_core.registering import register
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
    "from_peer",
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
    "prefer",
    "register",
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
    "from_peer": "peers",
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
    "prefer": "api",
    "register": "registering",
    "state": "methods",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        _refuse(name)
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def _refuse(name: str) -> NoReturn:
    """Say where a name is that people look for here."""
    message = f"module {__name__!r} has no attribute {name!r}"
    if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(message)
    from optim_core.catalog.class_names import way_to

    way = way_to(name, __all__)
    # `from optim_core import X` would replace an AttributeError by a text of its own, and lose the way.
    if way and sys._getframe(2).f_globals.get("__name__") == "importlib._bootstrap":
        raise ImportError(f"cannot import {name!r} from {__name__!r}{way}", name=name)
    raise AttributeError(message + way)


def __dir__() -> list[str]:
    return sorted(__all__)
