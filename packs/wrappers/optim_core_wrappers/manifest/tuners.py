"""Wrappers that find the scale of what their base does."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

TUNERS = (
    WrapperSpec(
        name="mechanic",
        aliases=("mechanize",),
        target="optim_core_wrappers.mechanic:Mechanic",
        summary="Finds the learning rate of the base while it trains.",
        license="Apache-2.0",
        paper=Paper(title="Mechanic: A Learning Rate Tuner", url="https://arxiv.org/abs/2306.00144", year=2023),
        code="https://github.com/optimizedlearning/mechanic",
        code_license="MIT",
    ),
    WrapperSpec(
        name="trac",
        target="optim_core_wrappers.trac:TRAC",
        summary="Scales all that the base has done since the start, for training that never ends.",
        license="Apache-2.0",
        paper=Paper(
            title="Fast TRAC: A Parameter-Free Optimizer for Lifelong Reinforcement Learning",
            url="https://arxiv.org/abs/2405.16642",
            year=2024,
        ),
        code="https://github.com/ComputationalRobotics/TRAC",
        code_license="MIT",
        shortfall="In float32 it does not begin to move around methods with small steps, such as AdamW by default.",
    ),
)
