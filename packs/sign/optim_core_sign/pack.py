"""The pack's manifest: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper, hookimpl
from optim_core_sign.manifest.compositions import COMPOSITIONS
from optim_core_sign.manifest.concentrated import CONCENTRATED

OPTIM_CORE_API = 1


@hookimpl
def optim_core_optimizers() -> list[OptimizerSpec]:
    """The pack's optimizers."""
    return [
        OptimizerSpec(
            name="lion",
            target="optim_core_sign.lion:Lion",
            summary="Step by the sign of a momentum that looks one gradient ahead; half of Adam's memory.",
            license="Apache-2.0",
            paper=Paper(
                title="Symbolic Discovery of Optimization Algorithms",
                url="https://arxiv.org/abs/2302.06675",
                year=2023,
            ),
            code="https://github.com/google/automl/tree/master/lion",
            code_license="Apache-2.0",
            state={"exp_avg": "element"},
        ),
        OptimizerSpec(
            name="signsgd",
            aliases=("signum",),
            target="optim_core_sign.signsgd:SignSGD",
            summary="Step by the sign of the gradient, or of its average (Signum).",
            license="Apache-2.0",
            paper=Paper(
                title="signSGD: Compressed Optimisation for Non-Convex Problems",
                url="https://arxiv.org/abs/1802.04434",
                year=2018,
            ),
            code="https://github.com/jiaweizzhao/signSGD-with-Majority-Vote",
            code_license="none found",
            state={"momentum_buffer": "element"},
        ),
        OptimizerSpec(
            name="msvag",
            target="optim_core_sign.msvag:MSVAG",
            summary="Momentum whose elements shrink as far as they are noise.",
            license="Apache-2.0",
            paper=Paper(
                title="Dissecting Adam: The Sign, Magnitude and Variance of Stochastic Gradients",
                url="https://arxiv.org/abs/1705.07774",
                year=2017,
            ),
            code="https://github.com/lballes/msvag",
            code_license="Apache-2.0",
            state={"exp_avg": "element", "exp_avg_sq": "element"},
        ),
        OptimizerSpec(
            name="tiger",
            target="optim_core_sign.tiger:Tiger",
            summary="Step by the sign of the average gradient, relative to the size of each tensor.",
            license="Apache-2.0",
            paper=Paper(
                title="Tiger: A Tight-fisted Optimizer",
                url="https://github.com/bojone/tiger",
                year=2023,
            ),
            code="https://github.com/bojone/tiger",
            code_license="MIT",
            needs=("named_params",),
            state={"m": "element", "role": "tensor"},
        ),
        *CONCENTRATED,
        *COMPOSITIONS,
    ]
