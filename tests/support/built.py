"""Distributions that are built and installed into a folder, as a stranger has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from support import ROOT


def python(*arguments: str, at: Path, **environment: str) -> str:
    """Run Python in a folder; returns what it writes."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(source: Path, site: Path) -> None:
    """Build a wheel and unpack it, which is all that installing it would do but for its scripts."""
    built = site.with_name(f"{source.name}-wheel")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(built), at=source)
    (wheel,) = built.iterdir()
    with ZipFile(wheel) as archive:
        archive.extractall(site)


def core_site(work: Path) -> Path:
    """A folder with the core, from a wheel."""
    source = work / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "optim_core", source / "optim_core", ignore=shutil.ignore_patterns("__pycache__"))
    install(source, work / "site")
    return work / "site"


def only(pack: str, site: Path) -> dict[str, str]:
    """The environment in which what is installed in a folder comes first, and of all packs there is one."""
    return {"PYTHONPATH": str(site), "OPTIM_CORE_PACKS": pack, "OMP_NUM_THREADS": "1"}
