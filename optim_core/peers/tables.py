"""What is known of other libraries: their classes with options and defaults, and what their options are called here.

``signatures.json`` is generated from the installed libraries by ``docs/peers.py``; ``translations.toml`` is written by
hand, and says at its head what its entries mean.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from optim_core.errors import UnknownName
from optim_core.names import did_you_mean, normalise

#: In ``signatures.json``: an option without a default.
REQUIRED = {"required": True}


@dataclass(frozen=True, kw_only=True)
class Translation:
    """What options of a library, or of one of its classes, are here.

    Attributes:
        name: our method; empty for the namesake.
        none: why there is no counterpart at all; empty if there is one.
        ignored: options that change no number.
        renamed: their option to ours.
        packed: our option to those of theirs that make up its tuple.
        spread: their tuple to the options of ours that its numbers are, one named several times being a tuple; or their
            number to all the options of ours that it is.
        values: their option to what its values are here, as texts.
        wrappers: their switch to the wrapper of ours.
        only_with: their option to another of theirs without which it says nothing.
        not_with: their option to another of theirs with which it says nothing.
        always: their option to the one value that ours goes by, without having the option.
        ours: options of ours that their class has no name for.
    """

    name: str = ""
    none: str = ""
    ignored: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    packed: Mapping[str, list[str]] = field(default_factory=dict)
    spread: Mapping[str, list[str]] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    wrappers: Mapping[str, str] = field(default_factory=dict)
    only_with: Mapping[str, str] = field(default_factory=dict)
    not_with: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)

    def over(self, general: Translation) -> Translation:
        """This one of a class, completed by that of its library."""
        mappings = ("renamed", "packed", "spread", "values", "wrappers", "only_with", "not_with", "always", "ours")
        merged = {name: {**getattr(general, name), **getattr(self, name)} for name in mappings}
        ignored = (*general.ignored, *self.ignored)
        return Translation(name=self.name, none=self.none, ignored=ignored, **merged)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An optimizer of another library.

    Attributes:
        library: the distribution that brings it.
        version: the version whose defaults are known.
        name: what the library calls it where it is asked for by name.
        cls: its class.
        options: the options of the constructor, with defaults.
        translation: what they are here.
    """

    library: str
    version: str
    name: str
    cls: str
    options: Mapping[str, Any]
    translation: Translation

    @property
    def label(self) -> str:
        """For messages: ``timm's AdamP``."""
        return f"{self.library}'s {self.cls if normalise(self.cls) == normalise(self.name) else self.name}"


def peer(library: str, name: str) -> Peer:
    """Find an optimizer of a library, by its name or class.

    Raises:
        UnknownName: naming what is near.
    """
    libraries = {normalise(known): known for known in _signatures()}
    if normalise(library) not in libraries:
        raise UnknownName(
            f"nothing is known of a library {library!r}.{did_you_mean(library, libraries.values())} Known are "
            f"{', '.join(libraries.values())}"
        )
    library = libraries[normalise(library)]
    known = peers(library)
    for found in known:
        if normalise(name) == normalise(found.name):
            return found
    for found in known:
        if normalise(name) == normalise(found.cls):
            return found
    hint = did_you_mean(name, [text for found in known for text in (found.name, found.cls)])
    raise UnknownName(f"{library} {known[0].version} has no optimizer {name!r}.{hint}")


@functools.cache
def peers(library: str) -> tuple[Peer, ...]:
    """Every optimizer of a library."""
    table = _translations().get(library, {})
    classes = table.get("classes", {})
    general = Translation(**{name: x for name, x in table.items() if name != "classes"})
    entry = _signatures()[library]
    return tuple(
        Peer(
            library=library,
            version=entry["version"],
            name=name,
            cls=signature["class"],
            options=signature["options"],
            translation=Translation(**{**classes.get(signature["class"], {}), **classes.get(name, {})}).over(general),
        )
        for name, signature in entry["optimizers"].items()
    )


def libraries() -> list[str]:
    """The libraries that are known."""
    return list(_signatures())


def name_of(value: Any) -> str:
    """How an option's value is written down that is neither a number nor a text: a function, a dtype."""
    return str(getattr(value, "__name__", value))


@functools.cache
def _signatures() -> dict[str, Any]:
    return json.loads(_read("signatures.json"))  # type: ignore[no-any-return]


@functools.cache
def _translations() -> dict[str, Any]:
    return tomllib.loads(_read("translations.toml"))


def _read(name: str) -> str:
    return resources.files("optim_core.peers").joinpath(name).read_text(encoding="utf-8")
