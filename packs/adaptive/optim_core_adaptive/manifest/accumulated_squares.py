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
    OptimizerSpec(
        name="kate",
        target="optim_core_adaptive.kate:Kate",
        summary="AdaGrad without the root: invariant to the scale of features.",
        license="Apache-2.0",
        paper=Paper(
            title="Remove that Square Root: A New Efficient Scale-Invariant Version of AdaGrad",
            url="https://arxiv.org/abs/2403.02648",
            year=2024,
        ),
        code="https://github.com/nazya/KATE",
        code_license="none found",
        state={"m": "element", "b": "element"},
        shortfall="Where gradients are small its steps are lr/|g|: 87 % at lr 3e-4, and less beside it.",
    ),
    OptimizerSpec(
        name="mirror_madgrad",
        target="optim_core_adaptive.mirror_madgrad:MirrorMADGRAD",
        summary="MADGRAD without its pull to the start: for large models.",
        license="Apache-2.0",
        paper=Paper(
            title="Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient "
            "Method for Stochastic Optimization",
            url="https://arxiv.org/abs/2101.11075",
            year=2021,
        ),
        code="https://github.com/facebookresearch/madgrad",
        code_license="MIT",
        state={"grad_sum_sq": "element", "z": "element"},
    ),
)
