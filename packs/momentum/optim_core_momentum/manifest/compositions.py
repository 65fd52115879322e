"""Methods that are composed of a method and wrappers around its rule."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

COMPOSITIONS = (
    OptimizerSpec(
        name="csgdw",
        aliases=("cautious_sgdw",),
        target="optim_core_momentum.csgdw:CSGDW",
        summary="SGDW without the elements of a step that go against the present gradient.",
        license="Apache-2.0",
        paper=Paper(
            title="Cautious Optimizers: Improving Training with One Line of Code",
            url="https://arxiv.org/abs/2411.16085",
            year=2024,
        ),
        code="https://github.com/kyleliang919/C-Optim",
        code_license="MIT",
        state={},
    ),
)
