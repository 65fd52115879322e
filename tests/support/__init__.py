"""What several test files share; pytest's ``pythonpath`` puts this package where they can import it."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
#: The source trees of the packs, which need not be installed.
PACKS = ROOT / "packs"
#: Trajectories of the authors' own code.
GOLDEN = TESTS / "golden"
