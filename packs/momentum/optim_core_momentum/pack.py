"""The pack's manifest: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper, hookimpl
from optim_core_momentum.manifest.averaged import AVERAGED
from optim_core_momentum.manifest.compositions import COMPOSITIONS
from optim_core_momentum.manifest.emotional import EMOTIONAL
from optim_core_momentum.manifest.in_backward import IN_BACKWARD
from optim_core_momentum.manifest.step_sizes import STEP_SIZES

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
            sparse=True,
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
            sparse=True,
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
        OptimizerSpec(
            name="accsgd",
            target="optim_core_momentum.accsgd:AccSGD",
            summary="Mixes short steps with the average of long ones: acceleration that noise does not spoil.",
            license="Apache-2.0",
            paper=Paper(
                title="On the insufficiency of existing momentum schemes for Stochastic Optimization",
                url="https://openreview.net/forum?id=rJTutzbA-",
                year=2018,
            ),
            code="https://github.com/rahulkidambi/AccSGD",
            code_license="none found",
            state={"momentum_buffer": "element"},
        ),
        OptimizerSpec(
            name="qhm",
            target="optim_core_momentum.qhm:QHM",
            summary="Step along a mixture of the gradient and its average; many momentum methods are cases of it.",
            license="Apache-2.0",
            paper=Paper(
                title="Quasi-hyperbolic momentum and Adam for deep learning",
                url="https://arxiv.org/abs/1810.06801",
                year=2018,
            ),
            code="https://github.com/facebookresearch/qhoptim",
            code_license="MIT",
            state={"momentum_buffer": "element"},
            constructors=(
                "from_pid",
                "from_synthesized_nesterov",
                "from_robust_momentum",
                "from_accsgd",
                "from_two_state_optimizer",
            ),
        ),
        OptimizerSpec(
            name="pnm",
            target="optim_core_momentum.pnm:PNM",
            summary="Two momenta in turn, the older one subtracted: more of the noise that helps to generalise.",
            license="Apache-2.0",
            paper=Paper(
                title="Positive-Negative Momentum: Manipulating Stochastic Gradient Noise to Improve Generalization",
                url="https://arxiv.org/abs/2103.17182",
                year=2021,
            ),
            code="https://github.com/zeke-xie/Positive-Negative-Momentum",
            code_license="MIT",
            state={"pos_momentum": "element", "neg_momentum": "element"},
        ),
        OptimizerSpec(
            name="pid",
            target="optim_core_momentum.pid:PID",
            summary="SGD as a controller: by the gradient, its decayed sum, and the average of its changes.",
            license="Apache-2.0",
            paper=Paper(
                title="A PID Controller Approach for Stochastic Optimization of Deep Networks",
                url="https://openaccess.thecvf.com/content_cvpr_2018/html/An_A_PID_Controller_CVPR_2018_paper.html",
                year=2018,
            ),
            code="https://github.com/tensorboy/PIDOptimizer",
            code_license="none found",
        ),
        OptimizerSpec(
            name="gravity",
            target="optim_core_momentum.gravity:Gravity",
            summary="Momentum that cuts down large gradients and begins with a random push.",
            license="Apache-2.0",
            paper=Paper(
                title="Gravity Optimizer: a Kinematic Approach on Optimization in Deep Learning",
                url="https://arxiv.org/abs/2101.09192",
                year=2021,
            ),
            code="https://github.com/dariush-bahrami/gravity.optimizer",
            code_license="GPL-3.0-only",
            state={"v": "element"},
        ),
        OptimizerSpec(
            name="srmm",
            target="optim_core_momentum.srmm:SRMM",
            summary="Moves to the minimum of an average of parabolas: averages both the parameters and the gradients.",
            license="Apache-2.0",
            paper=Paper(
                title="Stochastic regularized majorization-minimization with weakly convex and multi-convex surrogates",
                url="https://arxiv.org/abs/2201.01652",
                year=2022,
            ),
            code="https://github.com/HanbaekLyu/SRMM",
            code_license="none found",
            state={"mov_avg_grad": "element", "mov_avg_param": "element"},
        ),
        OptimizerSpec(
            name="lars",
            target="optim_core_momentum.lars:LARS",
            summary="SGD whose steps are scaled, tensor by tensor, to the norm of the weights: for large batches.",
            license="Apache-2.0",
            paper=Paper(
                title="Large Batch Training of Convolutional Networks",
                url="https://arxiv.org/abs/1708.03888",
                year=2017,
            ),
        ),
        OptimizerSpec(
            name="sgdp",
            target="optim_core_momentum.sgdp:SGDP",
            summary="SGD that takes the radial part out of steps on scale-invariant weights.",
            license="Apache-2.0",
            paper=Paper(
                title="AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights",
                url="https://arxiv.org/abs/2006.08217",
                year=2020,
            ),
            code="https://github.com/clovaai/AdamP",
            code_license="MIT",
        ),
        OptimizerSpec(
            name="alig",
            target="optim_core_momentum.alig:AliG",
            summary="SGD whose step size is the loss over the squared norm of its gradient.",
            license="Apache-2.0",
            paper=Paper(
                title="Training Neural Networks for and by Interpolation",
                url="https://arxiv.org/abs/1906.05661",
                year=2019,
            ),
            code="https://github.com/oval-group/ali-g",
            code_license="MIT",
            needs=("loss",),
            state={"loss": "whole"},
        ),
        OptimizerSpec(
            name="asgd",
            aliases=("adsgd",),
            target="optim_core_momentum.asgd:ASGD",
            summary="Gradient descent that finds its step size from the curvature that the last step met.",
            license="Apache-2.0",
            paper=Paper(
                title="Adaptive Gradient Descent without Descent",
                url="https://arxiv.org/abs/1910.09529",
                year=2019,
            ),
            code="https://github.com/ymalitsky/adaptive_GD",
            code_license="MIT",
            needs=("closure",),
            state={"prev_param": "element", "scale": "whole", "ratio": "whole"},
        ),
        OptimizerSpec(
            name="schedulefreesgd",
            aliases=("sgdschedulefree",),
            target="optim_core_momentum.schedulefreesgd:ScheduleFreeSGD",
            summary="SGD without a schedule: an average of all steps, kept apart, takes its place.",
            license="Apache-2.0",
            paper=Paper(
                title="The Road Less Scheduled",
                url="https://arxiv.org/abs/2405.15682",
                year=2024,
            ),
            code="https://github.com/facebookresearch/schedule_free",
            code_license="Apache-2.0",
            needs=("train_eval_mode",),
            state={"z": "element", "weight_sum": "tensor", "lr_max": "tensor"},
        ),
        *STEP_SIZES,
        *IN_BACKWARD,
        *AVERAGED,
        *COMPOSITIONS,
        *EMOTIONAL,
    ]
