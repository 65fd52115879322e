"""Schedules of other options than lr."""

from __future__ import annotations

from optim_core.catalog import Paper, SchedulerSpec

OPTIONS = (
    SchedulerSpec(
        name="cosine_option",
        aliases=(
            "cosine_weight_decay",
            "wd_schedule",
        ),
        target="optim_core_schedulers.cosine_option:CosineOption",
        summary="Another option along half a cosine from value to value: the weight decay.",
        license="Apache-2.0",
        paper=Paper(
            title="Emerging Properties in Self-Supervised Vision Transformers",
            url="https://arxiv.org/abs/2104.14294",
            year=2021,
        ),
        code="https://github.com/facebookresearch/dino",
        code_license="Apache-2.0",
        needs=("total_steps",),
        example="start=0.04, end=0.4, total_steps=100",
        sets="weight_decay",
    ),
    SchedulerSpec(
        name="logtime_beta",
        aliases=("log_time",),
        target="optim_core_schedulers.logtime_beta:LogTimeBeta",
        summary="Betas that tend to 1: averages over a share of the training so far.",
        license="Apache-2.0",
        paper=Paper(
            title="Logarithmic-time Schedules for Scaling Language Models with Momentum",
            url="https://arxiv.org/abs/2602.05298",
            year=2026,
        ),
        code="https://github.com/mlexpos/adana",
        code_license="Apache-2.0",
        sets="beta1",
    ),
    SchedulerSpec(
        name="momentum_schedule",
        aliases=("momentum_warmup",),
        target="optim_core_schedulers.momentum_schedule:MomentumSchedule",
        summary="Momentum that warms up, and cools down at the end.",
        license="Apache-2.0",
        paper=Paper(
            title="modded-nanogpt",
            url="https://github.com/KellerJordan/modded-nanogpt",
            year=2025,
        ),
        code="https://github.com/KellerJordan/modded-nanogpt",
        code_license="MIT",
        needs=("total_steps",),
        example="warmup_steps=30, cooldown_steps=20, total_steps=100",
        sets="momentum",
    ),
    SchedulerSpec(
        name="option_schedule",
        aliases=(
            "inject_hyperparams",
            "any_option",
        ),
        target="optim_core_schedulers.option_schedule:OptionSchedule",
        summary="Any option, by values or a function of the step.",
        license="Apache-2.0",
        paper=Paper(
            title="The DeepMind JAX Ecosystem",
            url="https://github.com/google-deepmind/optax",
            year=2020,
        ),
        code="https://github.com/google-deepmind/optax",
        code_license="Apache-2.0",
        example="option='weight_decay', function=lambda t: 0.5 + 0.5 * 0.95**t",
        sets="weight_decay",
    ),
)
