"""Packs as data: where one comes from, and whether it works, is broken or is switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from optim_core.catalog.specs import Spec

#: Names with this prefix are torch's own classes; no pack may be called so.
TORCH = "torch"
#: The environment variables that admit only some packs, and that switch some off.
ONLY, DISABLE = "OPTIM_CORE_PACKS", "OPTIM_CORE_DISABLE"

#: The steps of loading a pack: accept its name, import the manifest, speak its hook API, call its hooks, accept its
#: specs.
Stage: TypeAlias = Literal["name", "import", "api", "hooks", "specs"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The facts about a pack that are known before anything of it is imported.

    Attributes:
        name: of its entry point.
        distribution: the distribution that installed it; empty if it was registered by hand.
        version: of the distribution; empty if it was registered by hand.
        license: the distribution's SPDX expression (``License-Expression``); empty if it declares none.
    """

    name: str
    distribution: str = ""
    version: str = ""
    license: str = ""

    @property
    def label(self) -> str:
        """The distribution with its version, for messages about licences and repairs."""
        return f"{self.distribution} {self.version}".strip() or f"pack {self.name}"

    def __str__(self) -> str:
        return f"'{self.name}' ({self.label})" if self.distribution else f"'{self.name}'"


@dataclass(frozen=True, kw_only=True)
class Source(Origin):
    """A pack whose manifest can be imported.

    Attributes:
        manifest: imports and returns its manifest.
    """

    manifest: Callable[[], object] = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Pack(Origin):
    """A pack that works.

    Attributes:
        specs: of the methods that it brings.
    """

    specs: tuple[Spec, ...]


@dataclass(frozen=True, kw_only=True)
class Failure(Origin):
    """A pack that was skipped because it does not work.

    Attributes:
        stage: the step of loading at which it failed.
        cause: the exception.
    """

    stage: Stage
    cause: Exception

    @property
    def reason(self) -> str:
        """Stage and cause in one line."""
        return f"{self.stage}: {type(self.cause).__name__}: {self.cause}"


@dataclass(frozen=True, kw_only=True)
class DisabledPack(Origin):
    """A pack that is switched off.

    Attributes:
        variable: the environment variable that does it.
        value: of the variable.
    """

    variable: str
    value: str
