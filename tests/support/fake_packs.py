"""Made-up packs, and a place in which they are installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import importlib_metadata
import pytest

from optim_core.catalog import registry as registry_module
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.registry import Registry
from optim_core.catalog.specs import OptimizerSpec, Spec

#: The original, for which a site puts its own.
_distributions = importlib_metadata.distributions


def spec(name: str = "lion", **fields: Any) -> OptimizerSpec:
    """A small spec whose class is torch's SGD."""
    defaults = {"target": "torch.optim:SGD", "summary": "Steps.", "license": "MIT"}
    return OptimizerSpec(name=name, **{**defaults, **fields})


def manifest_text(*specs: Spec) -> str:
    """The source of a manifest with these specs."""
    lines = [
        "from optim_core.catalog import *",
        "OPTIM_CORE_API = 1",
    ]
    for kind in KINDS.values():
        lines += ["@hookimpl", f"def {kind.hook}():", f"    return {[s for s in specs if s.kind == kind.name]!r}"]
    return "\n".join(lines)


def manifest_module(*specs: Spec) -> ModuleType:
    """The same as a module."""
    module = ModuleType("some_manifest")
    exec(manifest_text(*specs), vars(module))  # noqa: S102 - our own text
    return module


def error_text(error: type[Exception], call: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """The message of the exception, of exactly this class, that a call raises."""
    with pytest.raises(error) as raised:
        call(*arguments, **keywords)
    assert type(raised.value) is error
    return str(raised.value)


class Site:
    """Stands for site-packages: exactly those distributions are installed that a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def install(
        self,
        pack: str,
        *specs: Spec,
        manifest: str | None = None,
        distribution: str | None = None,
        version: str = "1.0",
        licence: str | None = "MIT",
        modules: dict[str, str] | None = None,
    ) -> str:
        """Install a pack; returns the name of its package."""
        distribution = distribution or f"{pack}-optim"
        package = f"fake_{distribution.replace('-', '_')}"
        info = self.root / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        expression = f"License-Expression: {licence}\n" if licence else ""
        metadata = (
            f"Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\n{expression}\nLicense-Expression: no\n"
        )
        info.joinpath("METADATA").write_text(metadata)
        info.joinpath("entry_points.txt").write_text(f"[optim_core.packs]\n{pack} = {package}.pack\n")
        self.root.joinpath(package).mkdir()
        files = {"__init__": "", "pack": manifest_text(*specs) if manifest is None else manifest, **(modules or {})}
        for name, text in files.items():
            self.root.joinpath(package, f"{name}.py").write_text(text)
        return package

    def registry(self) -> Registry:
        """The registry of this environment, read anew."""
        return registry_module.refresh()

    def distributions(self) -> list[importlib_metadata.Distribution]:
        return [*_distributions(path=[str(self.root)])]
