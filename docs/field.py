"""The page of the field: what every name of other libraries is here. See docs/field.toml for the names."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optim_core
from optim_core.errors import NoCounterpart
from optim_core.names import normalise
from optim_core.peers.tables import REQUIRED, Peer, peers

FILE = Path(__file__).with_name("field.toml")


class Unaccounted(Exception):
    """A name of which nobody has said what it is here."""


def page() -> str:
    """A section for each library."""
    libraries = tomllib.loads(FILE.read_text(encoding="utf-8"))["library"]
    return "\n\n".join(section(library) for library in libraries)


def section(library: Mapping[str, Any]) -> str:
    """A table of one library's names."""
    title = f"## {library['name']} {library['version']}".rstrip()
    if "names" in library:
        answers = {name: answer(library, name) for name in library["names"]}
    else:
        answers = {theirs.name: translated(theirs) for theirs in peers(library["name"])}
    have = sum(text.startswith("`") for text in answers.values())
    lines = [f"| `{name}` | {text} |" for name, text in answers.items()]
    return "\n".join([title, "", f"{have} of {len(answers)} names.", "", "| theirs | ours |", "|---|---|", *lines])


def known_names() -> dict[str, str]:
    """Our names and aliases, in the form in which they are compared."""
    return {normalise(text): spec.name for spec in optim_core.find() for text in (spec.name, *spec.aliases)}


def answer(library: Mapping[str, Any], name: str) -> str:
    """What a name is here.

    Raises:
        Unaccounted: it is neither the name of a method here nor in the table.
    """
    said = library.get("ours", {}).get(name)
    if said is None:
        ours = known_names().get(normalise(name))
        if ours is None:
            raise Unaccounted(f"docs/field.toml does not say what {library['name']}'s {name} is here")
        return f"`{ours}`"
    if said.startswith("none: "):
        return said.removeprefix("none: ")
    for word in said.split("(")[0].replace(" around ", " ").replace(" over ", " ").split():
        if normalise(word) not in known_names():
            raise Unaccounted(f"docs/field.toml: {library['name']}'s {name} is said to be {word}, which is not there")
    return f"`{said}`"


def translated(theirs: Peer) -> str:
    """What an optimizer is here whose options are known."""
    required = {name: 1 for name, default in theirs.options.items() if default == REQUIRED}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optim_core.NonCommercialWarning)
            found = optim_core.from_peer(theirs.library, theirs.name, **required)
    except NoCounterpart as none:
        ours = known_names().get(normalise(theirs.translation.name or theirs.name))
        reason = str(none).partition(": ")[2].partition(". It takes")[0]
        option = str(none).partition(" with ")[2].partition(" has no")[0]
        return f"`{ours}`, but for `{option}`" if ours and option else reason
    return " in ".join(f"`{name}`" for name in (found.name, *found.wrappers))
