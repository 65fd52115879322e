"""Packs as data: where one comes from, and whether it works, is broken or is switched off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from optim_core.catalog._known import KNOWN
from optim_core.catalog.additions import Addition
from optim_core.catalog.specs import Spec
from optim_core.catalog.strangers import described
from optim_core.names import normalise

#: Names with this prefix are torch's own classes; no pack may be called so.
TORCH = "torch"
#: The pack of what `optim_core.register` adds; no other may be called so.
LOCAL = "local"
#: The environment variables that admit only some packs, and that switch some off.
ONLY, DISABLE = "OPTIM_CORE_PACKS", "OPTIM_CORE_DISABLE"

#: The names of the first-party packs.
FIRST_PARTY = frozenset(pack for _, _, pack in KNOWN.values())

_FORMS = {normalise(pack): pack for pack in FIRST_PARTY}

#: The steps of loading a pack: read its distribution's metadata, accept its name, import the manifest, speak its hook
#: API, call its hooks, accept its specs.
Stage: TypeAlias = Literal["metadata", "name", "import", "api", "hooks", "specs"]


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

    @property
    def is_first_party(self) -> bool:
        """True for our own packs, and for one that the user has registered under the name of one."""
        return first_party_name(self.name) is not None and not self.is_imitation

    @property
    def is_imitation(self) -> bool:
        """True if another distribution than ours gives it the name of a first-party pack."""
        ours = first_party_name(self.name)
        foreign = bool(self.distribution) and ours is not None
        return foreign and normalise(self.distribution) != normalise(distribution_of(str(ours)))

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
        additions: what it brings beside methods.
        classes: those that are at hand already, by the name of the method.
        manners: what its manifest does and should not, such as to print; it works all the same.
        seconds: the time that its manifest took.
    """

    specs: tuple[Spec, ...]
    additions: tuple[Addition, ...] = ()
    classes: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    manners: tuple[str, ...] = field(default=(), compare=False)
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Failure(Origin):
    """A pack that was skipped because it does not work.

    Attributes:
        stage: the step of loading at which it failed.
        cause: the exception.
    """

    stage: Stage
    cause: BaseException

    @property
    def reason(self) -> str:
        """Stage and cause in one printable line."""
        return f"{self.stage}: {described(self.cause)}"


@dataclass(frozen=True, kw_only=True)
class DisabledPack(Origin):
    """A pack that is switched off.

    Attributes:
        variable: the environment variable that does it.
        value: of the variable.
    """

    variable: str
    value: str


def first_party_name(name: str) -> str | None:
    """The first-party pack that is meant by a name; None if it is not one.

    Example:
        >>> first_party_name("Second-Order"), first_party_name("acme")
        ('second_order', None)
    """
    return _FORMS.get(normalise(name))


def distribution_of(first_party: str) -> str:
    """The distribution that brings a first-party pack.

    Example:
        >>> distribution_of("second_order")
        'optim-core-second-order'
    """
    return f"optim-core-{first_party.replace('_', '-')}"
