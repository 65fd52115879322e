"""The methods of the first-party packs, installed or not: a table generated from the packs' manifests.

In a checkout, ``python -m optim_core.catalog.known --write`` renews the table and ``--check`` compares it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

from optim_core.catalog._known import KNOWN
from optim_core.catalog.packs import FIRST_PARTY, distribution_of
from optim_core.catalog.specs import KindName
from optim_core.names import normalise

_TABLE = Path(__file__).with_name("_known.py")
_PACKS = Path(__file__).parents[2] / "packs"


class Known(NamedTuple):
    """A method of a first-party pack."""

    name: str
    kind: KindName
    pack: str

    @property
    def distribution(self) -> str:
        """The distribution that brings it."""
        return distribution_of(self.pack)


def lookup(name: str) -> Known | None:
    """The first-party method with this name or alias; None if there is none.

    Example:
        >>> lookup("Sophia")
        Known(name='sophiah', kind='optimizer', pack='second_order')
    """
    return Known(*KNOWN[normalise(name)]) if normalise(name) in KNOWN else None


def names(kind: KindName | None = None) -> list[str]:
    """The names of all first-party methods, or of those of a kind."""
    return sorted({name for name, of_kind, _ in KNOWN.values() if kind in (None, of_kind)})


def packs() -> list[str]:
    """The names of the first-party packs."""
    return sorted(FIRST_PARTY)


def install_command(pack: str) -> str:
    """The command that installs a first-party pack.

    Example:
        >>> install_command("second_order")
        'pip install "optim-core[second-order]"'
    """
    return f'pip install "optim-core[{pack.replace("_", "-")}]"'


def generate() -> str:
    """The text of the table, from the manifests in the checkout's ``packs/``.

    Raises:
        SpecError: a manifest is wrong, or two packs claim one name.
    """
    from optim_core.catalog.discovery import specs_of_manifest
    from optim_core.errors import SpecError

    table: dict[str, tuple[str, str, str]] = {}
    for directory in sorted(path.parent for path in _PACKS.glob("*/pyproject.toml")):
        sys.path.insert(0, str(directory))
        specs = specs_of_manifest(importlib.import_module(f"optim_core_{directory.name}.pack"), directory.name)
        for spec in specs:
            for name in (spec.name, *spec.aliases):
                if normalise(name) in table:
                    raise SpecError(f"{name!r} is in {directory.name} and in {table[normalise(name)][2]}")
                table[normalise(name)] = (spec.name, spec.kind, directory.name)
    rows = "".join(
        f'    "{key}": ("{name}", "{kind}", "{pack}"),\n' for key, (name, kind, pack) in sorted(table.items())
    )
    return (
        '"""Names and aliases of the methods in first-party packs.\n'
        "\n"
        "Generated: python -m optim_core.catalog.known --write\n"
        '"""\n'
        "\n"
        "from __future__ import annotations\n"
        "\n"
        "from optim_core.catalog.specs import KindName\n"
        "\n"
        "#: From a normalised name to the method's name, its kind and its pack.\n"
        f"KNOWN: dict[str, tuple[str, KindName, str]] = {{\n{rows}}}\n"
    )


def main() -> None:
    """Write the table, or exit with 1 if it is out of date."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m optim_core.catalog.known", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true", help="renew the table")
    mode.add_argument("--check", action="store_true", help="exit with 1 if the table is out of date")
    arguments = parser.parse_args()
    text = generate()
    if arguments.write:
        _TABLE.write_text(text, encoding="utf-8")
    elif _TABLE.read_text(encoding="utf-8") != text:
        sys.exit(f"{_TABLE.name} is out of date: python -m optim_core.catalog.known --write")


if __name__ == "__main__":
    main()
