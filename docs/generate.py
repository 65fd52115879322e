"""Writes what follows from the code into Markdown pages, between markers.

- README.md: how many methods there are, by pack; docs/methods.md and the packs' READMEs: tables of them, from the
  specs of the installed packs;
- docs/field.md: what every name of other libraries is here, from docs/field.toml and optim_core/peers;
- docs/stability.md: the public names, from the doors' `__all__`;
- docs/conformance.md: the checks of the kit, with what they require.
- docs/hooks.md: the hooks and what they return, from the hook specs, and the words that occur in it.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 if one is not up to date
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import field

import optim_core
from optim_core.catalog import NEEDS, Paper, hookspecs
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.sizes import SIZES
from optim_core.catalog.specs import Spec
from optim_core.testing import all_checks

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
    "optim_core.peers",
    "optim_core.testing",
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


def families(packs: Mapping[str, Path]) -> str:
    """How many methods each pack has of each kind, and what it is about."""
    total = [f"{len(optim_core.find(kind=kind.name))} {kind.plural}" for kind in KINDS.values()]
    lines = []
    for pack, folder in packs.items():
        numbers = {kind: len(optim_core.find(pack=pack, kind=kind.name)) for kind in KINDS.values()}
        counts = ", ".join(f"{n} {kind.plural if n > 1 else kind.name}" for kind, n in numbers.items() if n)
        about = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["description"]
        lines.append(f"| [`{pack}`](packs/{pack}/README.md) | {counts} | {about} |")
    return f"{', '.join(total[:-1])} and {total[-1]}.\n\n{table(lines, 'pack', 'methods', 'what they are')}"


def public_names() -> str:
    """The names of every door, with the first line of each docstring."""
    parts = []
    for door in DOORS:
        module = importlib.import_module(door)
        lines = [f"| `{name}` | {in_a_few_words(name, getattr(module, name))} |" for name in sorted(module.__all__)]
        parts.append(f"## `{door}`\n\n{table(lines, 'name', 'in a few words')}")
    return "\n\n".join(parts)


def checks() -> str:
    """Every check, with what it requires and its remedy."""
    lines = [f"| `{c.name}` | {markdown(c.requirement)} | {markdown(c.remedy)} |" for c in all_checks().values()]
    return table(lines, "check", "what is required", "remedy")


def in_a_few_words(name: str, value: object) -> str:
    """The first line of a docstring as Markdown."""
    if name in WORDS:
        return WORDS[name]
    # Only classes, functions and modules have a docstring of their own; other values show their class's.
    documented = inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
    line = (inspect.getdoc(value) or "").partition("\n")[0] if documented else ""
    return markdown(line)


def markdown(line: str) -> str:
    """A line of a docstring in a cell of a table."""
    return as_markdown(line).replace("|", r"\|")


def as_markdown(text: str) -> str:
    """A docstring's text in Markdown: roles as code, and blocks behind `::` with fences."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    block = re.compile(r"::\n\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)
    return block.sub(lambda found: f":\n\n```python\n{textwrap.dedent(found[1]).strip()}\n```\n\n", f"{text}\n").strip()


def hooks() -> str:
    """Every hook, then every class of what the hooks return, then the words that occur in their fields."""
    implemented = [hook for hook in vars(hookspecs).values() if hasattr(hook, f"{hookspecs.PROJECT}_spec")]
    returned = dict.fromkeys(filter(None, map(item_of, implemented)))
    needs = [f"| `{name}` | {words} |" for name, words in NEEDS.items()]
    sizes = [f"| `{name}` | {size.words} |" for name, size in SIZES.items()]
    parts = [
        "## The hooks",
        *(f"### `{signature_of(hook)}`\n\n{as_markdown(inspect.getdoc(hook) or '')}" for hook in implemented),
        "## What they return",
        *(fields_of(cls) for cls in (*returned, Paper)),
        "## Needs",
        table(needs, "need", "in words"),
        "## Sizes of states",
        "Several of a size are written `3 element`; any other size is `module:function`, a function of the shape.",
        table(sizes, "size", "in words"),
    ]
    return "\n\n".join(parts)


def signature_of(hook: Callable[..., Any]) -> str:
    """A hook as it is defined."""
    return f"{hook.__name__}{str(inspect.signature(hook)).replace(chr(39), '')}"


def item_of(hook: Callable[..., Any]) -> type | None:
    """The class whose instances a hook returns, if it has fields."""
    items = typing.get_args(typing.get_type_hints(hook).get("return"))
    return next((item for item in items if hasattr(item, "__dataclass_fields__")), None)


def fields_of(cls: type) -> str:
    """The fields of a class with their types, defaults and meanings."""
    meanings = {name: text for base in reversed(cls.__mro__) for name, text in documented_fields(base)}
    lines = [
        f"| `{field.name}` | `{str(field.type).replace('|', chr(92) + '|')}` | {default_of(field)} |"
        f" {meanings.get(field.name, '')} |"
        for field in fields(cls)
    ]
    first = (inspect.getdoc(cls) or "").partition("\n")[0]
    return f"### `{cls.__name__}`\n\n{as_markdown(first)}\n\n{table(lines, 'field', 'type', 'default', 'meaning')}"


def documented_fields(cls: type) -> Iterator[tuple[str, str]]:
    """Name and text of each entry under `Args:` in a class's own docstring."""
    docstring = inspect.cleandoc(vars(cls).get("__doc__") or "")
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section[1] if section else "", re.MULTILINE)
    for name, text in entries:
        words = re.sub(r"::$", ".", " ".join(text.split()))  # a block does not fit into a cell
        yield name, as_markdown(words).replace("|", r"\|")


def default_of(field: Field[Any]) -> str:
    """A field's default as it would be written."""
    if field.default is not MISSING:
        return f"`{field.default!r}`"
    return f"`{field.default_factory()!r}`" if field.default_factory is not MISSING else "required"


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
        (ROOT / "README.md", "methods", families(packs)),
        (ROOT / "docs" / "methods.md", "methods", methods_by_kind(packs)),
        (ROOT / "docs" / "field.md", "field", field.page()),
        (ROOT / "docs" / "stability.md", "names", public_names()),
        (ROOT / "docs" / "conformance.md", "checks", checks()),
        (ROOT / "docs" / "hooks.md", "hooks", hooks()),
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
