"""Methods whose average of the weights is what is used."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

AVERAGED = (
    OptimizerSpec(
        name="averagedsgd",
        aliases=("polyak_ruppert",),
        target="optim_core_momentum.averagedsgd:AveragedSGD",
        summary="SGD under a falling step size, with an average of its weights: torch's ASGD.",
        license="Apache-2.0",
        paper=Paper(
            title="Acceleration of Stochastic Approximation by Averaging",
            url="https://doi.org/10.1137/0330046",
            year=1992,
        ),
        code="https://github.com/pytorch/pytorch",
        code_license="BSD-3-Clause",
        state={"ax": "element", "eta": "tensor"},
    ),
)
