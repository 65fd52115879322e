"""Descent that finds step sizes for itself, or changes what it makes of the gradients of before."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

STEP_SIZES = (
    OptimizerSpec(
        name="rprop",
        target="optim_core_momentum.rprop:Rprop",
        summary="A step size for each element, which grows while the sign of its gradient stays: for full batches.",
        license="Apache-2.0",
        paper=Paper(
            title="A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm",
            url="https://doi.org/10.1109/ICNN.1993.298623",
            year=1993,
        ),
        code="https://github.com/pytorch/pytorch",
        code_license="BSD-3-Clause",
        state={"prev": "element", "step_size": "element"},
    ),
    OptimizerSpec(
        name="sgdsai",
        target="optim_core_momentum.sgdsai:SGDSaI",
        summary="SGD with momentum that scales each tensor's steps once, by the first gradient.",
        license="Apache-2.0",
        paper=Paper(
            title="No More Adam: Learning Rate Scaling at Initialization is All You Need",
            url="https://arxiv.org/abs/2412.11768",
            year=2024,
        ),
        code="https://github.com/AnonymousAlethiometer/SGD_SaI",
        code_license="Apache-2.0",
        state={"momentum_buffer": "element", "gsnr": "tensor"},
    ),
    OptimizerSpec(
        name="tam",
        target="optim_core_momentum.tam:TAM",
        summary="Momentum in which gradients count as far as they have its direction.",
        license="Apache-2.0",
        paper=Paper(title="Torque-Aware Momentum", url="https://arxiv.org/abs/2412.18790", year=2024),
        state={"momentum_buffer": "element", "s": "tensor"},
    ),
    OptimizerSpec(
        name="ogd",
        aliases=("optimistic_gradient_descent", "ogda"),
        target="optim_core_momentum.ogd:OptimisticGD",
        summary="Gradient descent that expects the gradient to go on changing as it has: for games.",
        license="Apache-2.0",
        paper=Paper(
            title="A Unified Analysis of Extra-gradient and Optimistic Gradient Methods for Saddle Point Problems: "
            "Proximal Point Approach",
            url="https://arxiv.org/abs/1901.08511",
            year=2019,
        ),
        state={"prev_grad": "element"},
    ),
    OptimizerSpec(
        name="polyaksgd",
        aliases=("sps",),
        target="optim_core_momentum.polyaksgd:PolyakSGD",
        summary="SGD whose step size is the loss over the squared norm of its gradient, within a bound.",
        license="Apache-2.0",
        paper=Paper(
            title="Stochastic Polyak Step-size for SGD: An Adaptive Learning Rate for Fast Convergence",
            url="https://arxiv.org/abs/2002.10542",
            year=2020,
        ),
        code="https://github.com/IssamLaradji/sps",
        code_license="none found",
        needs=("loss",),
        state={"loss": "whole", "step_size": "whole"},
    ),
    OptimizerSpec(
        name="noisysgd",
        target="optim_core_momentum.noisysgd:NoisySGD",
        summary="Gradient descent with noise on the gradient that fades away.",
        license="Apache-2.0",
        paper=Paper(
            title="Adding Gradient Noise Improves Learning for Very Deep Networks",
            url="https://arxiv.org/abs/1511.06807",
            year=2015,
        ),
    ),
)
