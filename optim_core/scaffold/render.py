"""From what was asked for to the files of a new pack: all of them, or none."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from optim_core._version import __version__
from optim_core.catalog.hookspecs import API_VERSION
from optim_core.scaffold import licensing
from optim_core.scaffold.errors import PackageMissing, ScaffoldError
from optim_core.scaffold.naming import Names, names_of

if TYPE_CHECKING:
    from optim_core.scaffold.existing import Existing

#: What a new pack can begin with: a rule, a transform around any optimizer, a schedule, or a plain torch optimizer.
PackKind: TypeAlias = Literal["optimizer", "wrapper", "scheduler", "plain"]
PACK_KINDS: tuple[PackKind, ...] = get_args(PackKind)
#: The command that installs what renders templates.
INSTALL = 'pip install "optim-core[scaffold]"'
_TEMPLATES = Path(__file__).with_name("templates")
#: Every file by its template; the names of packages and modules are filled in.
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    ".gitignore": "gitignore",
    ".github/workflows/ci.yml": "ci.yml",
    ".github/workflows/publish.yml": "publish.yml",
    "{package}/__init__.py": "__init__.py",
    "{package}/py.typed": "py.typed",
    "{package}/pack.py": "pack.py",
    "tests/test_{package}.py": "test.py",
}


def new_pack(
    name: str, *, kind: PackKind | None = None, from_class: str = "", into: Path = Path(), licence: str = "MIT"
) -> Path:
    """Render the folder of a new pack with one method, all under one name.

    Args:
        name: of pack and method: lower-case letters, digits and single ``_`` between them.
        kind: what the method is: ``"optimizer"`` unless ``from_class`` is given.
        from_class: ``"module:Class"``, a plain optimizer of an installed distribution that the pack registers; the
            class is imported, built and stepped twice, and the spec says what it keeps and needs.
        into: the folder in which the new one is made.
        licence: SPDX expression of the pack.

    Returns:
        The new folder.

    Raises:
        ScaffoldError: something of this is impossible; nothing is written.
        PackageMissing: what the extra ``scaffold`` brings is not installed.

    Example:
        >>> import tempfile
        >>> folder = new_pack("acme", into=Path(tempfile.mkdtemp()))
        >>> sorted(path.name for path in folder.glob("[!.]*"))
        ['LICENSE', 'README.md', 'acme_optim', 'pyproject.toml', 'tests']
    """
    if importlib.util.find_spec("jinja2") is None:
        raise PackageMissing(f"a new pack is rendered by jinja2: {INSTALL}")
    names, expression = names_of(name), licensing.checked(licence)
    folder = _free(into, names)
    existing = _existing(kind, from_class)
    facts = _facts(names, "plain" if existing else kind or "optimizer", expression, existing)
    files = dict(_rendered(names, facts))
    files["LICENSE"] = licensing.text_of(
        expression,
        holder=f"the authors of {names.distribution}",
        year=dt.datetime.now(dt.UTC).year,
    )
    _write(folder, files)
    return folder


def _free(into: Path, names: Names) -> Path:
    """The folder to make; refused if it cannot be made."""
    if not into.is_dir():
        raise ScaffoldError(f"{into} is no folder: make it first, mkdir -p {into}, or name another one with --into")
    folder = into / names.distribution
    if folder.exists() or folder.is_symlink():
        raise ScaffoldError(f"{folder} exists, and nothing in it is touched: choose another name, or --into elsewhere")
    return folder


def _existing(kind: PackKind | None, from_class: str) -> Existing | None:
    if not from_class:
        return None
    if kind not in (None, "plain"):
        raise ScaffoldError(
            f"--from-class registers a plain optimizer as it is, and --kind {kind} begins one anew: give one of them"
        )
    from optim_core.scaffold.existing import inspected  # imports torch

    return inspected(from_class)


def _facts(names: Names, kind: PackKind, expression: str, existing: Existing | None) -> Mapping[str, Any]:
    """What the templates are filled with."""
    major, minor, *_ = __version__.split(".")
    return {
        "names": names,
        "kind": kind,
        "hook": "optimizer" if kind == "plain" else kind,
        "license": expression,
        "spec_license": (existing and existing.license) or expression,
        "class_name": existing.class_name if existing else names.class_name,
        "existing": existing,
        "api": API_VERSION,
        "pin": f">={major}.{minor},<{major}.{int(minor) + 1}",
    }


def _rendered(names: Names, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The path in the new folder, and the text, of every file that has a template."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the files are Python and TOML, not HTML; texts go through `literal`
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["literal"] = _literal
    files = dict(_FILES)
    if facts["existing"] is None:
        files["{package}/{method}.py"] = f"{facts['kind']}.py"
    for path, template in files.items():
        where = path.format(package=names.package, method=names.method)
        yield where, environment.get_template(f"{template}.jinja").render(facts)


def _literal(text: str) -> str:
    r"""A text as Python and TOML both write it.

    Example:
        >>> print(_literal('a "b"'))
        "a \"b\""
    """
    return json.dumps(text, ensure_ascii=False)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files to a folder beside the new one, which then takes its name: whole, or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            whole = Path(made) / folder.name
            for path, text in files.items():
                target = whole / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8", newline="\n")
            whole.rename(folder)
    except OSError as problem:
        raise ScaffoldError(
            f"{folder} cannot be written ({problem.strerror or problem}): name a folder of yours with --into"
        ) from problem
