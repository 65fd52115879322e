"""Methods whose states are stored in few bits."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

FEW_BITS = (
    OptimizerSpec(
        name="flashadamw",
        target="optim_core_adaptive.flashadamw:FlashAdamW",
        summary="AdamW with its moments in eight bits an element.",
        license="Apache-2.0",
        paper=Paper(
            title="FlashOptim: Optimizers for Memory-Efficient Training",
            url="https://arxiv.org/abs/2602.23349",
            year=2026,
        ),
        code="https://github.com/databricks/flashoptim",
        code_license="Apache-2.0",
        state={
            "exp_avg_codes": "element as int8",
            "exp_avg_scales": "optim_core_adaptive.sizes:in_32s as float16",
            "exp_avg_sq_codes": "element as uint8",
            "exp_avg_sq_scales": "optim_core_adaptive.sizes:in_32s as float16",
        },
    ),
    OptimizerSpec(
        name="gefen",
        target="optim_core_adaptive.gefen:Gefen",
        summary="AdamW with a second moment for each period of a tensor, and a first moment of one byte an element.",
        license="Apache-2.0",
        paper=Paper(title="Gefen: Optimized Stochastic Optimizer", url="https://arxiv.org/abs/2606.13894", year=2026),
        code="https://github.com/ndvbd/Gefen",
        code_license="LicenseRef-Gefen",
        state={
            "m_codebook": "element as uint8",
            "m_magnitude": "optim_core_adaptive.sizes:scales",
            "vmean": "element",
            "automatic_period": "tensor",
            "codebook": "optim_core_adaptive.sizes:codebook",
        },
    ),
    OptimizerSpec(
        name="lowbitadamw",
        aliases=("adam8bit", "adamw8bit", "blockwise8bit"),
        target="optim_core_adaptive.lowbitadamw:LowBitAdamW",
        summary="AdamW with the moments of large parameters in eight or four bits an element.",
        license="Apache-2.0",
        paper=Paper(
            title="8-bit Optimizers via Block-wise Quantization", url="https://arxiv.org/abs/2110.02861", year=2021
        ),
        code="https://github.com/bitsandbytes-foundation/bitsandbytes",
        code_license="MIT",
        state={
            "exp_avg": "optim_core_adaptive.sizes:below_4096",
            "exp_avg_codes": "optim_core_adaptive.sizes:from_4096 as uint8",
            "exp_avg_scales": "optim_core_adaptive.sizes:in_256s",
            "exp_avg_sq": "optim_core_adaptive.sizes:below_4096",
            "exp_avg_sq_codes": "optim_core_adaptive.sizes:from_4096 as uint8",
            "exp_avg_sq_scales": "optim_core_adaptive.sizes:in_256s",
        },
    ),
)
