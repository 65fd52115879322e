"""Methods that keep little: averages in a subspace, or scales of rows and columns."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

_STRUCTURED = Paper(
    title="Towards Efficient Optimizer Design for LLM via Structured Fisher Approximation with a Low-Rank Extension",
    url="https://arxiv.org/abs/2502.07752",
    year=2025,
)

LOW_RANK = (
    OptimizerSpec(
        name="galore",
        aliases=("galoreadamw",),
        target="optim_core_second_order.galore:GaLore",
        summary="AdamW in a subspace of low rank of each matrix's gradient.",
        license="Apache-2.0",
        paper=Paper(
            title="GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection",
            url="https://arxiv.org/abs/2403.03507",
            year=2024,
        ),
        code="https://github.com/jiaweizzhao/GaLore",
        code_license="Apache-2.0",
        state={
            "exp_avg": "optim_core_second_order.shapes:within_128",
            "exp_avg_sq": "optim_core_second_order.shapes:within_128",
            "projection": "optim_core_second_order.shapes:basis_of_128",
        },
    ),
    OptimizerSpec(
        name="fira",
        aliases=("firaadamw",),
        target="optim_core_second_order.fira:Fira",
        summary="GaLore, and what its projection leaves out, scaled as Adam scales the rest.",
        license="Apache-2.0",
        paper=Paper(
            title="Fira: Can We Achieve Full-rank Training of LLMs Under Low-rank Constraint?",
            url="https://arxiv.org/abs/2410.01623",
            year=2024,
        ),
        code="https://github.com/xichen-fy/Fira",
        code_license="Apache-2.0",
        state={
            "exp_avg": "optim_core_second_order.shapes:within_8",
            "exp_avg_sq": "optim_core_second_order.shapes:within_8",
            "projection": "optim_core_second_order.shapes:basis_of_8",
            "scaling_grad": "tensor",
        },
    ),
    OptimizerSpec(
        name="racs",
        target="optim_core_second_order.racs:RACS",
        summary="Scales of rows and columns in the place of a second moment; hardly any state.",
        license="Apache-2.0",
        paper=_STRUCTURED,
        code="https://github.com/kozistr/pytorch_optimizer",
        code_license="Apache-2.0",
        state={"s": "row", "q": "optim_core_second_order.shapes:columns", "theta": "tensor"},
    ),
    OptimizerSpec(
        name="alice",
        target="optim_core_second_order.alice:Alice",
        summary="Adam in a subspace that follows the gradient's Gram matrix, and what it leaves out, scaled by column.",
        license="Apache-2.0",
        paper=_STRUCTURED,
        code="https://github.com/kozistr/pytorch_optimizer",
        code_license="Apache-2.0",
        state={
            "U": "optim_core_second_order.shapes:rows_by_256",
            "Q": "optim_core_second_order.shapes:square_of_256",
            "exp_avg": "optim_core_second_order.shapes:rows_within_256",
            "exp_avg_sq": "optim_core_second_order.shapes:rows_within_256",
            "left_out": "optim_core_second_order.shapes:columns",
            "phi": "tensor",
        },
    ),
    OptimizerSpec(
        name="ldadam",
        aliases=("ldadamw",),
        target="optim_core_second_order.ldadam:LDAdamW",
        summary="AdamW in a subspace that turns at every step, and an account of what it leaves out.",
        license="Apache-2.0",
        paper=Paper(
            title="LDAdam: Adaptive Optimization from Low-Dimensional Gradient Statistics",
            url="https://arxiv.org/abs/2410.16103",
            year=2024,
        ),
        code="https://github.com/IST-DASLab/LDAdam",
        code_license="Apache-2.0",
        state={
            "low_avg": "optim_core_second_order.shapes:within_16",
            "low_avg_sq": "optim_core_second_order.shapes:within_16",
            "projection": "optim_core_second_order.shapes:basis_of_16",
            "error": "element_from_2d",
            "exp_avg": "element_below_2d",
            "exp_avg_sq": "element_below_2d",
        },
    ),
    OptimizerSpec(
        name="lorarite",
        target="optim_core_second_order.lorarite:LoRARite",
        summary="For LoRA's factors: their product moves alike however it is divided between them; AdamW for the rest.",
        license="Apache-2.0",
        paper=Paper(
            title="LoRA Done RITE: Robust Invariant Transformation Equilibration for LoRA Optimization",
            url="https://arxiv.org/abs/2410.20625",
            year=2024,
        ),
        code="https://github.com/gkevinyen5418/LoRA-RITE",
        code_license="none found",
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
)
