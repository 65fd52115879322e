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
    OptimizerSpec(
        name="ortholaprop",
        target="optim_core_adaptive.ortholaprop:OrthoLaProp",
        summary="LaProp of the part of the gradient that is at right angles to the weights.",
        license="Apache-2.0",
        paper=Paper(
            title="Grokking at the Edge of Numerical Stability",
            url="https://arxiv.org/abs/2501.04697",
            year=2025,
        ),
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
    OptimizerSpec(
        name="msamlaprop",
        target="optim_core_adaptive.msamlaprop:MSAMLaProp",
        summary="LaProp whose gradients are taken ahead of the weights, along the last step.",
        license="Apache-2.0",
        paper=Paper(
            title="Momentum-SAM: Sharpness Aware Minimization without Computational Overhead",
            url="https://arxiv.org/abs/2401.12033",
            year=2024,
        ),
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        needs=("train_eval_mode",),
        state={"exp_avg": "element", "exp_avg_sq": "element", "z": "element"},
    ),
)
