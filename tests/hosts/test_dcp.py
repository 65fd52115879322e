"""torch.distributed.checkpoint, by get_/set_optimizer_state_dict: every kind goes on as if it had not been saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import loops
from support.dcp import interrupted
from support.kinds import Kind

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own


@pytest.mark.parametrize("flatten", [False, True])
def test_resume_is_exact(kind: Kind, flatten: bool, tmp_path: Path) -> None:
    assert loops.equal(*interrupted(kind, tmp_path, flatten=flatten))
