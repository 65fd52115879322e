"""Every method by name through torch.hub, from a checkout or a repository, with nothing installed but the core's needs.

Example:
    adamp = torch.hub.load("path/to/optim-core", "adamp", source="local")               # the class
    optimizer = torch.hub.load("path/to/optim-core", "adamp", params, source="local", lr=1e-3)  # an instance
"""

from __future__ import annotations

import sys as _sys
from collections.abc import Callable as _Callable
from pathlib import Path as _Path
from typing import Any as _Any

from optim_core import api as _api
from optim_core.catalog.registry import register_pack as _register_pack
from optim_core.catalog.registry import registry as _registry
from optim_core.catalog.specs import Spec as _Spec

# torch.hub takes every callable here without a leading underscore for a method: hence `_Path`.
dependencies = ["torch", "pluggy", "importlib_metadata"]

_GETTERS: dict[str, _Callable[[str], _Callable[..., _Any]]] = {
    "optimizer": _api.get,
    "scheduler": _api.get_scheduler,
    "wrapper": _api.get_wrapper,
}


def _register_packs() -> None:
    """Register the packs beside this file that are not installed."""
    known = _registry()
    present = {origin.name for origin in (*known.packs, *known.failures, *known.disabled)}
    for project in sorted(_Path(__file__).resolve().parent.glob("packs/*/pyproject.toml")):
        pack = project.parent
        if pack.name not in present:
            # Only while its package is imported, which then finds its own modules.
            _sys.path.insert(0, str(pack))
            try:
                _register_pack(pack.name, f"optim_core_{pack.name}.pack")
            finally:
                _sys.path.remove(str(pack))


def _entry(name: str, spec: _Spec) -> _Callable[..., _Any]:
    def entry(*args: _Any, **options: _Any) -> _Any:
        found = _GETTERS[spec.kind](name)
        return found(*args, **options) if args or options else found

    entry.__name__ = name
    entry.__doc__ = (
        f"{spec.summary}\n\nLicence: {spec.license}. Gives the {spec.kind}'s class; "
        "with arguments, what the class makes of them."
    )
    return entry


_register_packs()
for _found in _registry().entries:
    for _name in (_found.spec.name, *_found.spec.aliases):
        globals()[_name] = _entry(_name, _found.spec)
