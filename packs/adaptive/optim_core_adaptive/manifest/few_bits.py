"""Methods whose states are stored in few bits."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

FEW_BITS = (
    OptimizerSpec(
        name="gefen",
        target="optim_core_adaptive.gefen:Gefen",
        summary="AdamW with a second moment for each period of a tensor, and a first moment of one byte an element.",
        license="Apache-2.0",
        paper=Paper(title="Gefen: Optimized Stochastic Optimizer", url="https://arxiv.org/abs/2606.13894", year=2026),
        code="https://github.com/ndvbd/Gefen",
        code_license="LicenseRef-Gefen",
        state={
            "m_codebook": "element",
            "m_magnitude": "optim_core_adaptive.sizes:scales",
            "vmean": "element",
            "automatic_period": "tensor",
            "codebook": "optim_core_adaptive.sizes:codebook",
        },
    ),
)
