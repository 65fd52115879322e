"""Writes the tables of methods in README.md and the packs' READMEs from the specs of the installed packs.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 if one is not up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import optim_core
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.specs import Spec

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- methods -->", "<!-- /methods -->"


def row(spec: Spec, *, pack: str = "") -> str:
    """One line of a table."""
    names = ", ".join(f"`{name}`" for name in (spec.name, *spec.aliases))
    paper = f"[{spec.paper.year}]({spec.paper.url})" if spec.paper else ""
    needs = ", ".join(spec.needs).replace("_", " ")
    cells = [names, spec.class_name, *([pack] if pack else []), spec.summary, paper, needs]
    return f"| {' | '.join(cells)} |"


def table(lines: Iterable[str], *heads: str) -> str:
    """A Markdown table."""
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *lines])


def overview(packs: Iterable[str]) -> str:
    """All methods, a table for each kind."""
    parts = []
    for kind in KINDS.values():
        methods = [(spec, pack) for pack in packs for spec in optim_core.find(pack=pack, kind=kind.name)]
        lines = [row(spec, pack=pack) for spec, pack in sorted(methods, key=lambda pair: pair[0].name)]
        heads = ("name", "class", "pack", "what it does", "paper", "needs")
        parts.append(f"**{kind.plural.capitalize()}** ({len(lines)})\n\n{table(lines, *heads)}")
    return "\n\n".join(parts)


def placed(path: Path, text: str) -> str:
    """The file with the text between its markers."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path} lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main(check: bool) -> int:
    """Write or check; the exit status."""
    folders = {path.parent.name: path.parent for path in sorted(ROOT.glob("packs/*/pyproject.toml"))}
    texts = {ROOT / "README.md": overview(folders)}
    for pack, folder in folders.items():
        lines = [row(spec) for spec in optim_core.find(pack=pack)]
        texts[folder / "README.md"] = table(lines, "name", "class", "what it does", "paper", "needs")
    stale = [path for path, text in texts.items() if placed(path, text) != path.read_text(encoding="utf-8")]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not up to date: run python docs/generate.py", file=sys.stderr)
        else:
            path.write_text(placed(path, texts[path]), encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
