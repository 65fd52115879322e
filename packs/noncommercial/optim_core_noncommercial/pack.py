"""The pack's manifest: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper, hookimpl
from optim_core_noncommercial.manifest.low_rank import LOW_RANK

OPTIM_CORE_API = 1


@hookimpl
def optim_core_optimizers() -> list[OptimizerSpec]:
    """The pack's optimizers."""
    return [
        OptimizerSpec(
            name="fromage",
            target="optim_core_noncommercial.fromage:Fromage",
            summary="Step relative to the norm of the weights, tensor by tensor; no state.",
            license="CC-BY-NC-SA-4.0",
            paper=Paper(
                title="On the distance between two neural networks and the stability of learning",
                url="https://arxiv.org/abs/2002.03432",
                year=2020,
            ),
            code="https://github.com/jxbz/fromage",
            code_license="CC-BY-NC-SA-4.0",
        ),
        OptimizerSpec(
            name="nero",
            target="optim_core_noncommercial.nero:Nero",
            summary="Relative steps for each neuron, whose weights stay centred and of norm one.",
            license="CC-BY-NC-SA-4.0",
            paper=Paper(
                title="Learning by Turning: Neural Architecture Aware Optimisation",
                url="https://arxiv.org/abs/2102.07227",
                year=2021,
            ),
            code="https://github.com/jxbz/nero",
            code_license="CC-BY-NC-SA-4.0",
            state={"exp_avg_sq": "row", "scale": "tensor"},
        ),
        *LOW_RANK,
    ]
