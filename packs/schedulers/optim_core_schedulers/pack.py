"""What the pack brings: specs only, no torch."""

from __future__ import annotations

from optim_core.hookspecs import hookimpl
from optim_core.specs import Paper, SchedulerSpec

OPTIM_CORE_API = 1


@hookimpl
def optim_core_schedulers() -> list[SchedulerSpec]:
    """The pack's schedulers."""
    return [
        SchedulerSpec(
            name="chebyshev",
            aliases=("chebyshev_lr", "fractal"),
            target="optim_core_schedulers.chebyshev:ChebyshevLR",
            summary="Steps of Chebyshev's iteration in an order that keeps them stable.",
            license="Apache-2.0",
            paper=Paper(
                title="Acceleration via Fractal Learning Rate Schedules",
                url="https://arxiv.org/abs/2103.01338",
                year=2021,
            ),
            needs=("total_steps",),
        ),
        SchedulerSpec(
            name="explore_exploit",
            aliases=("explore_exploit_lr", "knee", "knee_lr"),
            target="optim_core_schedulers.explore_exploit:ExploreExploitLR",
            summary="Warm-up, a long time at the peak, then a straight line to zero.",
            license="Apache-2.0",
            paper=Paper(
                title="Wide-minima Density Hypothesis and the Explore-Exploit Learning Rate Schedule",
                url="https://arxiv.org/abs/2003.03977",
                year=2020,
            ),
            code="https://github.com/nikhil-iyer-97/wide-minima-density-hypothesis",
            code_license="none found",
            needs=("total_steps",),
        ),
        SchedulerSpec(
            name="untuned_linear_warmup",
            target="optim_core_schedulers.untuned_linear_warmup:UntunedLinearWarmup",
            summary="Linear warm-up whose length follows from Adam's beta2.",
            license="Apache-2.0",
            paper=Paper(
                title="On the adequacy of untuned warmup for adaptive optimization",
                url="https://arxiv.org/abs/1910.04209",
                year=2019,
            ),
            needs=("betas",),
        ),
    ]
