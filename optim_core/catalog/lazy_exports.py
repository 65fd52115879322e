"""A pack's classes as attributes of its package: imported on first use, once the licence has been checked."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

from optim_core.catalog import licenses
from optim_core.catalog.specs import Spec
from optim_core.names import did_you_mean


def exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a pack's package, from its manifest (the module ``pack`` in it).

    Args:
        package: the package's ``__name__``.

    Example:
        In ``optim_core_adaptive/__init__.py``, with the imports for type checkers and editors::

            if TYPE_CHECKING:
                from optim_core_adaptive.adam import Adam

            __all__ = ["Adam"]
            __getattr__, __dir__ = exports(__name__)
    """

    @cache
    def specs() -> dict[str, Spec]:
        from optim_core.catalog.discovery import specs_of_manifest

        manifest = importlib.import_module(f"{package}.pack")
        return {spec.class_name: spec for spec in specs_of_manifest(manifest, package)}

    def get_attribute(name: str) -> Any:
        # Python asks for names with underscores on its own account, and for `pack` while importing it.
        spec = specs().get(name) if name != "pack" and not name.startswith("_") else None
        if spec is None:
            near = did_you_mean(name, specs()) if name[:1].isupper() else ""
            raise AttributeError(f"module {package!r} has no attribute {name!r}.{near}")
        licenses.check(spec, package)
        from optim_core.catalog.registry import load_class

        return load_class(spec)

    def list_attributes() -> list[str]:
        return sorted(specs())

    return get_attribute, list_attributes
