"""What the pack brings: specs only, no torch."""

from __future__ import annotations

from optim_core.hookspecs import hookimpl
from optim_core.specs import OptimizerSpec, Paper

OPTIM_CORE_API = 1


@hookimpl
def optim_core_optimizers() -> list[OptimizerSpec]:
    """The pack's optimizers."""
    return [
        OptimizerSpec(
            name="sgd",
            target="optim_core_momentum.sgd:SGD",
            summary="Gradient descent, with heavy-ball or Nesterov momentum if wanted.",
            license="Apache-2.0",
            paper=Paper(
                title="On the importance of initialization and momentum in deep learning",
                url="https://proceedings.mlr.press/v28/sutskever13.html",
                year=2013,
            ),
            code="https://github.com/pytorch/pytorch",
            code_license="BSD-3-Clause",
        ),
        OptimizerSpec(
            name="sgdw",
            target="optim_core_momentum.sgdw:SGDW",
            summary="SGD with weight decay applied to the weights themselves, apart from the gradient.",
            license="Apache-2.0",
            paper=Paper(
                title="Decoupled Weight Decay Regularization",
                url="https://arxiv.org/abs/1711.05101",
                year=2017,
            ),
            code="https://github.com/loshchil/AdamW-and-SGDW",
            code_license="BSD-3-Clause",
        ),
        OptimizerSpec(
            name="aggmo",
            target="optim_core_momentum.aggmo:AggMo",
            summary="SGD that averages several momenta, from quick to slow: large ones without oscillation.",
            license="Apache-2.0",
            paper=Paper(
                title="Aggregated Momentum: Stability Through Passive Damping",
                url="https://arxiv.org/abs/1804.00325",
                year=2018,
            ),
            code="https://github.com/AtheMathmo/AggMo",
            code_license="none found",
            state={"momentum_buffer": "3 element"},
            constructors=("from_exp_form",),
        ),
    ]
