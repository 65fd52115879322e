"""The same as in test_dcp.py, for all methods whose states are tensors of parameters, and nothing of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import loops
from support.dcp import interrupted
from support.kinds import BY_REACH, Kind, all_kinds

from optim_core.catalog.registry import load_class
from optim_core.rules import Level

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own


def keeps_tensors(cls: Any) -> bool:
    return not cls.method.counts_whole_steps and not any(declared.copies for declared in cls.states.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    elementwise = f"a method that {BY_REACH[Level.ELEMENT]}"
    plain = [kind for kind in all_kinds() if kind.row == elementwise and keeps_tensors(load_class(kind.spec))]
    metafunc.parametrize("plain", plain, ids=lambda kind: kind.spec.name)


@pytest.mark.parametrize("flatten", [False, True])
def test_resume_is_exact(plain: Kind, flatten: bool, tmp_path: Path) -> None:
    assert loops.equal(*interrupted(plain, tmp_path, flatten=flatten))
