"""Signs together with a pull towards an average of the weights."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

CONCENTRATED = (
    OptimizerSpec(
        name="focus",
        target="optim_core_sign.focus:FOCUS",
        summary="Step by the sign of the average gradient, and a little towards the average of the weights.",
        license="Apache-2.0",
        paper=Paper(
            title="FOCUS: First Order Concentrated Updating Scheme",
            url="https://arxiv.org/abs/2501.12243",
            year=2025,
        ),
        code="https://github.com/liuyz0/FOCUS",
        code_license="MIT",
        state={"exp_avg": "element", "pbar": "element"},
    ),
)
