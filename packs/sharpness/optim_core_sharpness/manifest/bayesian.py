"""Optimizers that learn a distribution of the weights."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

BAYESIAN = (
    OptimizerSpec(
        name="bsam",
        aliases=("bayesiansam",),
        target="optim_core_sharpness.bsam:BSAM",
        summary="SAM as variational Bayes: learns a variance for each weight, and steps by it.",
        license="Apache-2.0",
        paper=Paper(
            title="SAM as an Optimal Relaxation of Bayes",
            url="https://arxiv.org/abs/2210.01620",
            year=2022,
        ),
        code="https://github.com/team-approx-bayes/bayesian-sam",
        code_license="GPL-3.0-only",
        needs=("closure",),
        state={"s": "element", "exp_avg": "element"},
    ),
)
