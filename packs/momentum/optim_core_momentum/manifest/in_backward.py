"""Steps in the middle of backward, for the memory that gradients take otherwise."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

IN_BACKWARD = (
    OptimizerSpec(
        name="lomo",
        target="optim_core_momentum.lomo:LOMO",
        summary="Gradient descent in the middle of backward: no gradient is kept, and no state.",
        license="Apache-2.0",
        paper=Paper(
            title="Full Parameter Fine-tuning for Large Language Models with Limited Resources",
            url="https://arxiv.org/abs/2306.09782",
            year=2023,
        ),
        code="https://github.com/OpenLMLab/LOMO",
        code_license="MIT",
    ),
)
