"""Methods that average gradients after dividing them by their root mean square."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

NORMALISED_MOMENTUM = (
    OptimizerSpec(
        name="laprop",
        target="optim_core_adaptive.laprop:LaProp",
        summary="Adam that averages gradients after dividing them: stable whatever beta2 is.",
        license="Apache-2.0",
        paper=Paper(
            title="LaProp: Separating Momentum and Adaptivity in Adam",
            url="https://arxiv.org/abs/2002.04839",
            year=2020,
        ),
        code="https://github.com/Z-T-WANG/LaProp-Optimizer",
        code_license="MIT",
        state={"exp_avg": "element", "exp_avg_sq": "element", "exp_avg_lr_1": "tensor"},
    ),
    OptimizerSpec(
        name="signlaprop",
        target="optim_core_adaptive.signlaprop:SignLaProp",
        summary="The sign of LaProp's average, at the length of its steps.",
        license="Apache-2.0",
        paper=Paper(
            title="LaProp: Separating Momentum and Adaptivity in Adam",
            url="https://arxiv.org/abs/2002.04839",
            year=2020,
        ),
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
)
