"""Methods that take their step size from a model of the loss."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

LOSS_MODELS = (
    OptimizerSpec(
        name="momo",
        target="optim_core_adaptive.momo:Momo",
        summary="Momentum SGD whose step size follows from how far the loss is above its lower bound.",
        license="Apache-2.0",
        paper=Paper(
            title="MoMo: Momentum Models for Adaptive Learning Rates",
            url="https://arxiv.org/abs/2305.07583",
            year=2023,
        ),
        code="https://github.com/fabian-sp/MoMo",
        code_license="MIT",
        needs=("loss",),
        state={
            "loss": "whole",
            "grad_avg": "element",
            "grad_dot_w": "whole",
            "loss_avg": "whole",
            "lower_bound": "whole",
            "k": "whole",
        },
    ),
    OptimizerSpec(
        name="momoadam",
        target="optim_core_adaptive.momo:MomoAdam",
        summary="Adam whose step size follows from how far the loss is above its lower bound.",
        license="Apache-2.0",
        paper=Paper(
            title="MoMo: Momentum Models for Adaptive Learning Rates",
            url="https://arxiv.org/abs/2305.07583",
            year=2023,
        ),
        code="https://github.com/fabian-sp/MoMo",
        code_license="MIT",
        needs=("loss",),
        state={
            "loss": "whole",
            "grad_avg": "element",
            "grad_avg_sq": "element",
            "grad_dot_w": "whole",
            "loss_avg": "whole",
            "lower_bound": "whole",
            "k": "whole",
        },
    ),
)
