"""The manifest of the pack: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec, hookimpl

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
        WrapperSpec(
            name="rotograd",
            target="optim_core_multitask.rotograd:RotoGrad",
            summary="Rotates the shared representation for each task, and brings their gradients to one norm.",
            license="Apache-2.0",
            paper=Paper(
                title="RotoGrad: Gradient Homogenization in Multitask Learning",
                url="https://arxiv.org/abs/2103.02631",
                year=2021,
            ),
            code="https://github.com/adrianjav/rotograd",
            code_license="MIT",
            needs=("multi_loss",),
        ),
        WrapperSpec(
            name="rotate_only",
            target="optim_core_multitask.rotate_only:RotateOnly",
            summary="Rotates the shared representation for each task, so that their gradients agree.",
            license="Apache-2.0",
            paper=Paper(
                title="RotoGrad: Gradient Homogenization in Multitask Learning",
                url="https://arxiv.org/abs/2103.02631",
                year=2021,
            ),
            code="https://github.com/adrianjav/rotograd",
            code_license="MIT",
            needs=("multi_loss",),
        ),
        WrapperSpec(
            name="rotograd_norm",
            target="optim_core_multitask.rotograd_norm:RotoGradNorm",
            summary="Rotates the shared representation for each task, and learns weights of the tasks.",
            license="Apache-2.0",
            paper=Paper(
                title="RotoGrad: Gradient Homogenization in Multitask Learning",
                url="https://arxiv.org/abs/2103.02631",
                year=2021,
            ),
            code="https://github.com/adrianjav/rotograd",
            code_license="MIT",
            needs=("multi_loss",),
        ),
    ]
