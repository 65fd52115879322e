"""Wrappers that save memory."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

MEMORY = (
    WrapperSpec(
        name="gradient_release",
        aliases=("optimizer_in_backward", "step_in_backward"),
        target="optim_core_wrappers.gradient_release:GradientRelease",
        summary="Steps each parameter in the middle of backward, so that gradients take hardly any memory.",
        license="Apache-2.0",
        paper=Paper(
            title="How to save memory by fusing the optimizer step into the backward pass",
            url="https://pytorch.org/tutorials/intermediate/optimizer_step_in_backward_tutorial.html",
            year=2023,
        ),
        code="https://github.com/warner-benjamin/optimi",
        code_license="MIT",
    ),
    WrapperSpec(
        name="badam",
        aliases=("block_coordinate", "blockoptimizer"),
        target="optim_core_wrappers.badam:BAdam",
        summary="Trains one block of the model at a time, so that there are gradients and states for that one only.",
        license="Apache-2.0",
        paper=Paper(
            title="BAdam: A Memory Efficient Full Parameter Optimization Method for Large Language Models",
            url="https://arxiv.org/abs/2404.02827",
            year=2024,
        ),
        code="https://github.com/Ledzy/BAdam",
        code_license="Apache-2.0",
        needs=("named_params",),
    ),
)
