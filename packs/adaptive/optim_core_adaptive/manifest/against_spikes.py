"""Methods that keep spikes of the loss and the gradient out of their moments."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

AGAINST_SPIKES = (
    OptimizerSpec(
        name="spam",
        target="optim_core_adaptive.spam:SPAM",
        summary="Adam that clips spikes against its second moment and forgets its moments at intervals.",
        license="Apache-2.0",
        paper=Paper(
            title="SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM Training",
            url="https://arxiv.org/abs/2501.06842",
            year=2025,
        ),
        code="https://github.com/TianjinYellow/SPAM-Optimizer",
        code_license="none found",
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
    OptimizerSpec(
        name="stablespam",
        target="optim_core_adaptive.stablespam:StableSPAM",
        summary="Adam on gradients brought to their usual peaks and norms; forgets its moments at intervals.",
        license="Apache-2.0",
        paper=Paper(
            title="Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam",
            url="https://arxiv.org/abs/2502.17055",
            year=2025,
        ),
        code="https://github.com/TianjinYellow/StableSPAM",
        code_license="none found",
        state={
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "m_norm_t": "tensor",
            "v_norm_t": "tensor",
            "m_max_t": "tensor",
        },
    ),
    OptimizerSpec(
        name="adagc",
        target="optim_core_adaptive.adagc:AdaGC",
        summary="AdamW that clips the gradient of each tensor to its usual norm.",
        license="Apache-2.0",
        paper=Paper(
            title="AdaGC: Improving Training Stability for Large Language Model Pretraining",
            url="https://arxiv.org/abs/2502.11034",
            year=2025,
        ),
        state={"exp_avg": "element", "exp_avg_sq": "element", "gamma": "tensor"},
    ),
)
