"""Methods that take noise off the gradient before they use it."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

VARIANCE_REDUCTION = (
    OptimizerSpec(
        name="mars",
        target="optim_core_adaptive.mars:MARS",
        summary="Adam, Lion or Muon on gradients corrected by their change since the last step.",
        license="Apache-2.0",
        paper=Paper(
            title="MARS: Unleashing the Power of Variance Reduction for Training Large Models",
            url="https://arxiv.org/abs/2411.10438",
            year=2024,
        ),
        code="https://github.com/AGI-Arena/MARS",
        code_license="Apache-2.0",
        state={"exp_avg": "element", "exp_avg_sq": "element", "last_grad": "optim_core_adaptive.sizes:matrix"},
    ),
    OptimizerSpec(
        name="vsgd",
        target="optim_core_adaptive.vsgd:VSGD",
        summary="SGD on an estimate of the true gradient by variational inference.",
        license="Apache-2.0",
        paper=Paper(
            title="Variational Stochastic Gradient Descent for Deep Neural Networks",
            url="https://arxiv.org/abs/2404.06549",
            year=2024,
        ),
        code="https://github.com/generativeai-tue/vsgd",
        code_license="MIT",
        state={"mug": "element", "bg": "element", "bhg": "element"},
    ),
)
