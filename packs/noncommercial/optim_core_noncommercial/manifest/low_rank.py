"""Methods that keep little: averages in a space of low rank."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

LOW_RANK = (
    OptimizerSpec(
        name="apollozhu",
        aliases=("apollolr", "apollomini"),
        target="optim_core_noncommercial.apollozhu:APOLLOZhu",
        summary="Each channel of a gradient scaled as AdamW scales it in a small auxiliary space.",
        license="CC-BY-NC-SA-4.0",
        paper=Paper(
            title="APOLLO: SGD-like Memory, AdamW-level Performance", url="https://arxiv.org/abs/2412.05270", year=2024
        ),
        code="https://github.com/zhuhanqing/APOLLO",
        code_license="CC-BY-NC-4.0",
        state={
            "exp_avg": "optim_core_noncommercial.apollozhu:auxiliary_size",
            "exp_avg_sq": "optim_core_noncommercial.apollozhu:auxiliary_size",
            "projection": "optim_core_noncommercial.apollozhu:basis_size",
            "scaled_grad": "tensor",
        },
    ),
)
