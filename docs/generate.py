"""Writes what follows from the code into Markdown pages, between markers.

- README.md and the packs' READMEs: tables of methods, from the specs of the installed packs;
- docs/stability.md: the public names, from the doors' `__all__`.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 if one is not up to date
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import optim_core
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.specs import Spec

ROOT = Path(__file__).resolve().parent.parent
#: The modules whose `__all__` is public.
DOORS = (
    "optim_core",
    "optim_core.errors",
    "optim_core.names",
    "optim_core.catalog",
    "optim_core.rules",
    "optim_core.methods",
    "optim_core.optimizers",
    "optim_core.wrapping",
    "optim_core.schedules",
)

#: Words for public names that have no docstring.
WORDS = {
    "BASE_LR": "The lr of the optimizer that `rates` runs a schedule on.",
    "BETA2": "The second beta of that optimizer.",
    "NEEDS": "What a method may need besides gradients, each need in words.",
    "Need": "The type of a need.",
    "Rate": "The type of a rate: a number, or a tensor where lr is one.",
    "Over": "The type of `over`: a reduction's extent.",
    "__version__": "The version of the core.",
    "hookimpl": "Marks a function of a manifest as a hook.",
}


def row(spec: Spec, *, pack: str = "") -> str:
    """One line of a table of methods."""
    names = ", ".join(f"`{name}`" for name in (spec.name, *spec.aliases))
    paper = f"[{spec.paper.year}]({spec.paper.url})" if spec.paper else ""
    needs = ", ".join(spec.needs).replace("_", " ")
    cells = [names, spec.class_name, *([pack] if pack else []), spec.summary, paper, needs]
    return f"| {' | '.join(cells)} |"


def table(lines: Iterable[str], *headers: str) -> str:
    """A Markdown table."""
    return "\n".join([f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}", *lines])


def methods_by_kind(packs: Iterable[str]) -> str:
    """All methods, a table for each kind."""
    parts = []
    for kind in KINDS.values():
        methods = [(spec, pack) for pack in packs for spec in optim_core.find(pack=pack, kind=kind.name)]
        lines = [row(spec, pack=pack) for spec, pack in sorted(methods, key=lambda pair: pair[0].name)]
        headers = ("name", "class", "pack", "what it does", "paper", "needs")
        parts.append(f"**{kind.plural.capitalize()}** ({len(lines)})\n\n{table(lines, *headers)}")
    return "\n\n".join(parts)


def public_names() -> str:
    """The names of every door, with the first line of each docstring."""
    parts = []
    for door in DOORS:
        module = importlib.import_module(door)
        lines = [f"| `{name}` | {in_a_few_words(name, getattr(module, name))} |" for name in sorted(module.__all__)]
        parts.append(f"## `{door}`\n\n{table(lines, 'name', 'in a few words')}")
    return "\n\n".join(parts)


def in_a_few_words(name: str, value: object) -> str:
    """The first line of a docstring as Markdown."""
    if name in WORDS:
        return WORDS[name]
    # Only classes, functions and modules have a docstring of their own; other values show their class's.
    documented = inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
    line = (inspect.getdoc(value) or "").partition("\n")[0] if documented else ""
    line = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", line)
    return line.replace("``", "`").replace("|", r"\|")


def replace_between_markers(path: Path, marker: str, text: str) -> str:
    """The page with the text between its markers."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closing, after = rest.partition(end)
    if not closing:
        raise SystemExit(f"{path} lacks the markers {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def pages() -> dict[Path, str]:
    """Every page with its whole text, up to date."""
    packs = {path.parent.name: path.parent for path in sorted(ROOT.glob("packs/*/pyproject.toml"))}
    sections = [
        (ROOT / "README.md", "methods", methods_by_kind(packs)),
        (ROOT / "docs" / "stability.md", "names", public_names()),
    ]
    for pack, folder in packs.items():
        lines = [row(spec) for spec in optim_core.find(pack=pack)]
        section = table(lines, "name", "class", "what it does", "paper", "needs")
        sections.append((folder / "README.md", "methods", section))
    return {path: replace_between_markers(path, marker, text) for path, marker, text in sections}


def main(check: bool) -> int:
    """Write or check; the exit status."""
    stale = {path: text for path, text in pages().items() if path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        if check:
            print(f"{path.relative_to(ROOT)} is not up to date: run python docs/generate.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
