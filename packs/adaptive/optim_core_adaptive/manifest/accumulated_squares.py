"""Methods that divide by sums of squared gradients, which only grow."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

ACCUMULATED_SQUARES = (
    OptimizerSpec(
        name="ftrl",
        aliases=("ftrl_proximal",),
        target="optim_core_adaptive.ftrl:FTRL",
        summary="AdaGrad's steps with exact zeros by L1 regularisation, for sparse linear models.",
        license="Apache-2.0",
        paper=Paper(
            title="Ad Click Prediction: a View from the Trenches",
            url="https://research.google/pubs/ad-click-prediction-a-view-from-the-trenches/",
            year=2013,
        ),
        state={"z": "element", "n": "element", "last_lr": "tensor"},
    ),
)
