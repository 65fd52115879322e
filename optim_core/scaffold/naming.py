"""The names of a new pack, all of which follow from one, and those that it cannot have."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from optim_core.catalog import known
from optim_core.catalog.packs import TORCH, distribution_of, first_party_name
from optim_core.catalog.registry import survey
from optim_core.names import normalise
from optim_core.scaffold.errors import ScaffoldError
from optim_core.text import one_line

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
#: More letters than this do not fit into the lines of the templates.
_LONGEST = 30
#: The module of the manifest, beside which the method has its own.
_MANIFEST = "pack"


@dataclass(frozen=True)
class Names:
    """The names of a pack with one method.

    Attributes:
        method: the pack and its method, in lower case.
    """

    method: str

    @property
    def package(self) -> str:
        """The package that is imported."""
        return f"{self.method}_optim"

    @property
    def distribution(self) -> str:
        """What is installed, and the name of the folder."""
        return self.package.replace("_", "-")

    @property
    def class_name(self) -> str:
        """The class of the method.

        Example:
            >>> Names("fast_lion").class_name
            'FastLion'
        """
        return "".join(word.capitalize() for word in self.method.split("_"))


def names_of(name: str) -> Names:
    """The names of a pack that is to be called so.

    Raises:
        ScaffoldError: it cannot be.

    Example:
        >>> names_of("acme")
        Names(method='acme')
    """
    _check_form(name)
    _check_reserved(name)
    _check_free(name)
    return Names(name)


def _check_form(name: str) -> None:
    if not _NAME.fullmatch(name):
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        better = "_".join(words).lstrip("0123456789_")
        example = better if _is_usable(better) else "fast_lion"
        raise ScaffoldError(
            f"{one_line(name)!r} is no name of a pack: lower-case letters, digits and single '_' between them, a "
            f"letter first, such as {example!r}"
        )
    if len(name) > _LONGEST:
        raise ScaffoldError(
            f"{one_line(name)!r} has {len(name)} characters, of which a pack's name has {_LONGEST} at most: shorten it"
        )


def _is_usable(name: str) -> bool:
    """Whether a name that a message is about to tell would be accepted."""
    try:
        return bool(name) and names_of(name) is not None
    except ScaffoldError:
        return False


def _check_reserved(name: str) -> None:
    """Refuse what would be no module, or hide one, or pass for a part of the core."""
    if keyword.iskeyword(name) or keyword.iskeyword(Names(name).class_name):
        raise ScaffoldError(f"{name!r} is a word of Python: choose another name, such as '{name}_step'")
    if name in (_MANIFEST, TORCH):
        what = "the module of every pack's manifest" if name == _MANIFEST else "reserved for torch's own classes"
        raise ScaffoldError(f"{name!r} is {what}: choose another name, such as '{name}_step'")
    if normalise(name).startswith("optimcore"):
        rest = re.sub(r"^optim_?core_?", "", name)
        better = rest if _is_usable(rest) else "acme"
        raise ScaffoldError(
            f"{name!r} would pass for a pack of optim-core's own: leave the prefix out, as in {better!r}"
        )


def _check_free(name: str) -> None:
    """Refuse a name that somebody has already."""
    ours = first_party_name(name)
    if ours is not None:
        raise ScaffoldError(f"{name!r} is the pack of {distribution_of(ours)}: choose another name")
    method = known.lookup(name)
    if method is not None:
        raise ScaffoldError(
            f"{name!r} is taken: the {method.kind} {method.name!r} of {method.distribution}. Choose another name"
        )
    installed = survey()
    taken = [origin for origin in installed.origins if normalise(origin.name) == normalise(name)]
    taken += [
        entry.pack
        for entry in installed.entries
        if normalise(name) in map(normalise, (entry.spec.name, *entry.spec.aliases))
    ]
    if taken:
        remedy = f", or `pip uninstall {taken[0].distribution}` first" if taken[0].distribution else ""
        raise ScaffoldError(f"{name!r} is taken by the pack {taken[0]}, installed here: choose another name{remedy}")
