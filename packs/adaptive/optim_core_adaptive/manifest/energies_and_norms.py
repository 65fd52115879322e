"""Methods whose step size falls by what all steps have met: norms of gradients, or an energy that is spent."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

ENERGIES_AND_NORMS = (
    OptimizerSpec(
        name="adagradnorm",
        target="optim_core_adaptive.adagradnorm:AdaGradNorm",
        summary="SGD whose one step size falls with the sum of all squared gradient norms.",
        license="Apache-2.0",
        paper=Paper(
            title="AdaGrad stepsizes: Sharp convergence over nonconvex landscapes",
            url="https://arxiv.org/abs/1806.01811",
            year=2019,
        ),
        state={"sum": "whole"},
    ),
    OptimizerSpec(
        name="aegd",
        target="optim_core_adaptive.aegd:AEGD",
        summary="Gradient descent on the root of the loss, with an energy for each element that only falls.",
        license="Apache-2.0",
        paper=Paper(
            title="AEGD: Adaptive Gradient Descent with Energy",
            url="https://arxiv.org/abs/2010.05109",
            year=2020,
        ),
        code="https://github.com/txping/AEGD",
        code_license="BSD-3-Clause",
        needs=("loss",),
        state={"r": "element", "loss": "whole"},
    ),
)
