"""What engines need, for tests that are about one of them."""

from __future__ import annotations

import pytest
import torch

from optim_core.rules import triton
from optim_core.rules.graph import Home
from optim_core.rules.values import Level

_obstacle = triton.obstacle({"p": torch.zeros(1)}, {"p": Home(Level.ELEMENT)}, torch.float32)
#: For tests that run Triton's kernels on a CPU, as `nox -s triton` does.
needs_triton = pytest.mark.skipif(_obstacle is not None, reason=str(_obstacle))
