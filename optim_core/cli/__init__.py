"""The command ``optim-core``: list, show, doctor, licenses, check, compare, new-pack."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say which package is missing; ``optim-core --help`` explains the exit codes."""
    try:
        from optim_core.cli.app import run
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.stderr.write(f'The command line needs {package}: pip install "optim-core[cli]"\n')
        sys.exit(2)
    sys.exit(run())
