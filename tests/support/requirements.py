"""What engines need, for tests that are about one of them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from optim_core.engines import triton
from optim_core.engines.triton.kernel import interpreting
from optim_core.rules.graph import Home
from optim_core.rules.values import Level


def _unless(obstacle: str | None) -> pytest.MarkDecorator:
    return pytest.mark.skipif(obstacle is not None, reason=str(obstacle))


def _obstacle(device: str) -> str | None:
    return triton.obstacle({"p": torch.zeros(1, device=device)}, {"p": Home(Level.ELEMENT)}, torch.float32)


def _compiler_obstacle() -> str | None:
    if find_spec("triton") is None:
        return "Triton is not installed"
    return "Triton was imported as an interpreter" if interpreting() else None


#: For tests that run Triton's kernels on a CPU, which is slow: `nox -s triton` does.
needs_triton = _unless(_obstacle("cpu"))
needs_gpu = _unless(_obstacle("cuda") if torch.cuda.is_available() else "there is no GPU")
#: For tests that compile kernels for a GPU, which need not be there.
needs_compiler = _unless(_compiler_obstacle())
