"""Marks of tests that need what a machine may not have; conftest.py skips them, and only then looks for it."""

from __future__ import annotations

import functools
from importlib.util import find_spec

import pytest
import torch

from optim_core.engines import triton
from optim_core.engines.triton.kernel import interpreting
from optim_core.rules.graph import Access, Extent
from optim_core.rules.values import Level

#: For tests that run Triton's kernels on a CPU, which is slow: `nox -s triton` does.
needs_triton = pytest.mark.needs("triton")
needs_gpu = pytest.mark.needs("gpu")
#: For tests that compile kernels for a GPU, which need not be there.
needs_compiler = pytest.mark.needs("compiler")


@functools.cache
def obstacle(requirement: str) -> str | None:
    """Why a requirement is not met, or None."""
    if requirement == "hatchling":
        return None if find_spec("hatchling") else "hatchling, which builds wheels, is not installed"
    if requirement == "compiler":
        if find_spec("triton") is None:
            return "Triton is not installed"
        return "Triton was imported as an interpreter" if interpreting() else None
    if requirement == "gpu" and not torch.cuda.is_available():
        return "there is no GPU"
    device = {"triton": "cpu", "gpu": "cuda"}[requirement]
    return triton.ENGINE.obstacle(
        {"p": torch.zeros(1, device=device)}, Access({"p": Extent(Level.ELEMENT)}), torch.float32
    )
