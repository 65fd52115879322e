"""Averages of the weights."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

AVERAGES = (
    WrapperSpec(
        name="lawa",
        aliases=("latest_weight_averaging",),
        target="optim_core_wrappers.lawa:LAWA",
        summary="Keeps the mean of the latest snapshots of the weights, to evaluate with.",
        license="Apache-2.0",
        paper=Paper(
            title="Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight Averaging",
            url="https://arxiv.org/abs/2209.14981",
            year=2022,
        ),
        code="https://github.com/JeanKaddour/LAWA",
        code_license="none found",
    ),
    WrapperSpec(
        name="swa",
        aliases=("stochastic_weight_averaging",),
        target="optim_core_wrappers.swa:SWA",
        summary="Keeps the equal mean of weights from late in the training, to evaluate with.",
        license="Apache-2.0",
        paper=Paper(
            title="Averaging Weights Leads to Wider Optima and Better Generalization",
            url="https://arxiv.org/abs/1803.05407",
            year=2018,
        ),
        code="https://github.com/pytorch/contrib",
        code_license="none found",
    ),
    WrapperSpec(
        name="tail_ema",
        target="optim_core_wrappers.tail_ema:TailEMA",
        summary="Keeps a running average over the end of the training, and blends it in to evaluate.",
        license="Apache-2.0",
        paper=Paper(
            title="modded-nanogpt optimization benchmark, result 45",
            url="https://github.com/KellerJordan/modded-nanogpt/pull/325",
            year=2026,
        ),
        code="https://github.com/KellerJordan/modded-nanogpt",
        code_license="MIT",
    ),
)
