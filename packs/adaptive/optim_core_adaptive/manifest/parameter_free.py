"""Methods that find their step size by themselves, from distances and gradients."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

PARAMETER_FREE = (
    OptimizerSpec(
        name="dog",
        target="optim_core_adaptive.dog:DoG",
        summary="SGD whose step size is the distance gone over the root of all squared gradients.",
        license="Apache-2.0",
        paper=Paper(
            title="DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule",
            url="https://arxiv.org/abs/2302.12022",
            year=2023,
        ),
        code="https://github.com/formll/dog",
        code_license="MIT",
        state={"x0": "element", "rbar": "whole", "G": "whole"},
    ),
    OptimizerSpec(
        name="ldog",
        target="optim_core_adaptive.dog:LDoG",
        summary="DoG with a step size of its own for each tensor.",
        license="Apache-2.0",
        paper=Paper(
            title="DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule",
            url="https://arxiv.org/abs/2302.12022",
            year=2023,
        ),
        code="https://github.com/formll/dog",
        code_license="MIT",
        state={"x0": "element", "rbar": "tensor", "G": "tensor"},
    ),
    OptimizerSpec(
        name="dowg",
        target="optim_core_adaptive.dowg:DoWG",
        summary="DoG with gradients weighted by the distance: it need not be tuned to the problem's smoothness.",
        license="Apache-2.0",
        paper=Paper(
            title="DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method",
            url="https://arxiv.org/abs/2305.16284",
            year=2023,
        ),
        code="https://github.com/rka97/dowg",
        code_license="none found",
        state={"x0": "element", "rbar2": "whole", "v": "whole"},
    ),
    OptimizerSpec(
        name="cocob",
        target="optim_core_adaptive.cocob:COCOB",
        summary="Each weight bets on its gradients with what it has won: no step size at all.",
        license="Apache-2.0",
        paper=Paper(
            title="Training Deep Networks without Learning Rates Through Coin Betting",
            url="https://arxiv.org/abs/1705.07795",
            year=2017,
        ),
        code="https://github.com/bremen79/parameterfree",
        code_license="MIT",
        state={
            "x0": "element",
            "L": "element",
            "grad_norm_sum": "element",
            "sum_negative_gradients": "element",
            "reward": "element",
        },
    ),
    OptimizerSpec(
        name="adamg",
        target="optim_core_adaptive.adamg:AdamG",
        summary="Adam that finds its step sizes from the size of gradients.",
        license="Apache-2.0",
        paper=Paper(
            title="Towards Stability of Parameter-free Optimization",
            url="https://arxiv.org/abs/2405.04376",
            year=2024,
        ),
        state={"m": "element", "v": "element", "r": "element"},
        constructors=("of_paper",),
    ),
)
