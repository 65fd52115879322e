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
from optim_core.catalog.kinds import KINDS as _KINDS
from optim_core.catalog.registry import register_pack as _register_pack
from optim_core.catalog.registry import registry as _registry
from optim_core.catalog.specs import Spec as _Spec

# torch.hub takes every callable here without a leading underscore for a method: hence `_Path`.
dependencies = ["torch", "pluggy", "importlib_metadata"]


def _register_packs() -> None:
    """Register the packs beside this file that are not installed."""
    installed = {origin.name for origin in _registry().origins}
    for project in sorted(_Path(__file__).resolve().parent.glob("packs/*/pyproject.toml")):
        pack = project.parent
        if pack.name not in installed:
            # Only while its package is imported, which then finds its own modules.
            _sys.path.insert(0, str(pack))
            try:
                _register_pack(pack.name, f"optim_core_{pack.name}.pack")
            finally:
                _sys.path.remove(str(pack))


def _entry_point(name: str, spec: _Spec) -> _Callable[..., _Any]:
    """The function that torch.hub calls for one name."""

    def entry_point(*args: _Any, **options: _Any) -> _Any:
        cls = getattr(_api, _KINDS[spec.kind].getter)(name)
        return cls(*args, **options) if args or options else cls

    entry_point.__name__ = name
    entry_point.__doc__ = (
        f"{spec.summary}\n\nLicence: {spec.license}. Returns the {spec.kind}'s class; with arguments, the result of "
        "calling it."
    )
    return entry_point


_register_packs()
for _entry in _registry().entries:
    for _name in (_entry.spec.name, *_entry.spec.aliases):
        globals()[_name] = _entry_point(_name, _entry.spec)
