"""Methods that mix gradients of different ages."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

MIXTURES = (
    OptimizerSpec(
        name="simplifiedademamix",
        aliases=("simademamix",),
        target="optim_core_adaptive.simplifiedademamix:SimplifiedAdEMAMix",
        summary="Adam with a sum of past gradients and the present one, weighed against each other.",
        license="Apache-2.0",
        paper=Paper(
            title="Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD Variants",
            url="https://arxiv.org/abs/2502.02431",
            year=2025,
        ),
        code="https://github.com/DepenM/Simplified-AdEMAMix",
        code_license="MIT",
        state={"exp_avg": "element", "exp_avg_sq": "element", "num_sum": "tensor"},
    ),
    OptimizerSpec(
        name="grokadamw",
        target="optim_core_adaptive.grokadamw:GrokAdamW",
        summary="AdamW on gradients whose slow part is amplified: for models that memorise before they generalise.",
        license="Apache-2.0",
        paper=Paper(
            title="Grokfast: Accelerated Grokking by Amplifying Slow Gradients",
            url="https://arxiv.org/abs/2405.20233",
            year=2024,
        ),
        code="https://github.com/QuixiAI/grokadamw",
        code_license="MIT",
        state={"exp_avg": "element", "exp_avg_sq": "element", "grok_ema": "element", "position": "tensor"},
    ),
)
