"""Steps in the middle of backward, for the memory that gradients take otherwise."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

IN_BACKWARD = (
    OptimizerSpec(
        name="adalomo",
        target="optim_core_adaptive.adalomo:AdaLOMO",
        summary="AdaFactor in the middle of backward: no gradient is kept, and hardly a state.",
        license="Apache-2.0",
        paper=Paper(
            title="AdaLomo: Low-memory Optimization with Adaptive Learning Rate",
            url="https://arxiv.org/abs/2310.10195",
            year=2023,
        ),
        code="https://github.com/OpenLMLab/LOMO",
        code_license="MIT",
        state={
            "exp_avg_sq_row": "all_but_last",
            "exp_avg_sq_col": "all_but_second_last",
            "exp_avg_sq": "element_below_2d",
        },
    ),
)
