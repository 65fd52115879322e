"""Methods that are composed of a method and wrappers around its rule."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

COMPOSITIONS = (
    OptimizerSpec(
        name="muloco",
        aliases=("muloco1",),
        target="optim_core_second_order.muloco:MuLoCo",
        summary="Muon with an outer step of Nesterov momentum every k steps.",
        license="Apache-2.0",
        paper=Paper(
            title="MuLoCo: Muon is a Practical Inner Optimizer for DiLoCo",
            url="https://arxiv.org/abs/2505.23725",
            year=2025,
        ),
        code="https://github.com/bentherien/muloco-1",
        code_license="MIT",
        state={
            "momentum_buffer": "element_from_2d",
            "slow": "element",
            "outer_momentum_buffer": "element",
            "steps": "tensor",
            "exp_avg": "element_below_2d",
            "exp_avg_sq": "element_below_2d",
        },
    ),
)
