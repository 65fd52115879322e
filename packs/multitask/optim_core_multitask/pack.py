"""What the pack brings: specs only, no torch."""

from __future__ import annotations

from optim_core.hookspecs import hookimpl
from optim_core.specs import Paper, WrapperSpec

OPTIM_CORE_API = 1


@hookimpl
def optim_core_wrappers() -> list[WrapperSpec]:
    """The pack's wrappers."""
    return [
        WrapperSpec(
            name="pcgrad",
            target="optim_core_multitask.pcgrad:PCGrad",
            summary="Projects each task's gradient off the ones that it conflicts with.",
            license="Apache-2.0",
            paper=Paper(
                title="Gradient Surgery for Multi-Task Learning",
                url="https://arxiv.org/abs/2001.06782",
                year=2020,
            ),
            code="https://github.com/tianheyu927/PCGrad",
            code_license="MIT",
            needs=("multi_loss",),
        ),
    ]
