"""Preconditioned stochastic gradient descent: factors that are fitted on the way."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

_HEAVYBALL = "https://github.com/HomebrewML/HeavyBall"
_FITTINGS = Paper(
    title="Stochastic Hessian Fittings with Lie Groups", url="https://arxiv.org/abs/2402.11858", year=2024
)
_FACTORS = {
    "Q": "optim_core_second_order.shapes:psgd_size",
    "running_lower_bound": "optim_core_second_order.shapes:psgd_axes",
    "fits": "whole",
}

PSGD = (
    OptimizerSpec(
        name="psgdpro",
        target="optim_core_second_order.psgdpro:PSGDPRO",
        summary="PSGD with a nearly symmetric factor for each axis, fitted without inverses.",
        license="Apache-2.0",
        paper=_FITTINGS,
        code=_HEAVYBALL,
        code_license="BSD-2-Clause",
        state={**_FACTORS, "exp_avg": "element"},
    ),
    OptimizerSpec(
        name="qsgd",
        target="optim_core_second_order.qsgd:QSGD",
        summary="PSGDPRO with the root of its preconditioner.",
        license="Apache-2.0",
        paper=_FITTINGS,
        code=_HEAVYBALL,
        code_license="BSD-2-Clause",
        state={**_FACTORS, "exp_avg": "element"},
    ),
    OptimizerSpec(
        name="lather",
        target="optim_core_second_order.lather:LATHER",
        summary="Adam in the eigenbasis of PSGD's preconditioner.",
        license="Apache-2.0",
        paper=Paper(
            title="Preconditioned Stochastic Gradient Descent", url="https://arxiv.org/abs/1512.04202", year=2015
        ),
        code=_HEAVYBALL,
        code_license="BSD-2-Clause",
        state={
            **_FACTORS,
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "Q_basis": "optim_core_second_order.shapes:psgd_bases",
        },
    ),
    OptimizerSpec(
        name="psgdlra",
        target="optim_core_second_order.psgdlra:PSGDLRA",
        summary="PSGD with a diagonal and a matrix of low rank for each tensor.",
        license="Apache-2.0",
        paper=Paper(
            title="Preconditioned Stochastic Gradient Descent", url="https://arxiv.org/abs/1512.04202", year=2015
        ),
        code=_HEAVYBALL,
        code_license="BSD-2-Clause",
        state={
            "exp_avg": "element",
            "d": "element",
            "U": "optim_core_second_order.shapes:lra_size",
            "V": "optim_core_second_order.shapes:lra_size",
            "fits": "whole",
        },
    ),
)
