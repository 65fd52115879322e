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
)
