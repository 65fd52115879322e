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
            name="adabelief",
            target="optim_core_adaptive.adabelief:AdaBelief",
            summary="Adam whose second moment is the spread of the gradient about its average.",
            license="Apache-2.0",
            paper=Paper(
                title="AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients",
                url="https://arxiv.org/abs/2010.07468",
                year=2020,
            ),
            code="https://github.com/juntang-zhuang/Adabelief-Optimizer",
            code_license="BSD-2-Clause",
            state={"exp_avg": "element", "exp_avg_var": "element"},
        ),
        OptimizerSpec(
            name="adafactor",
            target="optim_core_adaptive.adafactor:AdaFactor",
            summary="Adam's second moment kept as one row and one column a matrix: hardly any memory.",
            license="Apache-2.0",
            paper=Paper(
                title="Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
                url="https://arxiv.org/abs/1804.04235",
                year=2018,
            ),
            code="https://github.com/tensorflow/tensor2tensor",
            code_license="Apache-2.0",
            state={
                "exp_avg_sq_row": "all_but_last",
                "exp_avg_sq_col": "all_but_second_last",
                "exp_avg_sq": "element_below_2d",
            },
        ),
        OptimizerSpec(
            name="adam",
            target="optim_core_adaptive.adam:Adam",
            summary="Step along the average gradient, divided by the root of its average square.",
            license="Apache-2.0",
            paper=Paper(
                title="Adam: A Method for Stochastic Optimization",
                url="https://arxiv.org/abs/1412.6980",
                year=2014,
            ),
            code="https://github.com/pytorch/pytorch",
            code_license="BSD-3-Clause",
            state={"exp_avg": "element", "exp_avg_sq": "element"},
        ),
        OptimizerSpec(
            name="adamp",
            target="optim_core_adaptive.adamp:AdamP",
            summary="Adam that takes the radial part out of steps on scale-invariant weights.",
            license="Apache-2.0",
            paper=Paper(
                title="AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights",
                url="https://arxiv.org/abs/2006.08217",
                year=2020,
            ),
            code="https://github.com/clovaai/AdamP",
            code_license="MIT",
            state={"exp_avg": "element", "exp_avg_sq": "element"},
        ),
        OptimizerSpec(
            name="adamw",
            target="optim_core_adaptive.adamw:AdamW",
            summary="Adam with weight decay applied to the weights themselves, apart from the gradient.",
            license="Apache-2.0",
            paper=Paper(
                title="Decoupled Weight Decay Regularization",
                url="https://arxiv.org/abs/1711.05101",
                year=2017,
            ),
            code="https://github.com/loshchil/AdamW-and-SGDW",
            code_license="BSD-3-Clause",
            state={"exp_avg": "element", "exp_avg_sq": "element"},
        ),
        OptimizerSpec(
            name="adan",
            target="optim_core_adaptive.adan:Adan",
            summary="Adam with Nesterov momentum, written with differences of successive gradients.",
            license="Apache-2.0",
            paper=Paper(
                title="Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models",
                url="https://arxiv.org/abs/2208.06677",
                year=2022,
            ),
            code="https://github.com/sail-sg/Adan",
            code_license="Apache-2.0",
            state={
                "exp_avg": "element",
                "exp_avg_diff": "element",
                "exp_avg_sq": "element",
                "previous_grad": "element",
            },
        ),
        OptimizerSpec(
            name="amsgrad",
            target="optim_core_adaptive.amsgrad:AMSGrad",
            summary="Adam whose denominator never shrinks.",
            license="Apache-2.0",
            paper=Paper(
                title="On the Convergence of Adam and Beyond",
                url="https://arxiv.org/abs/1904.09237",
                year=2018,
            ),
            state={"exp_avg": "element", "exp_avg_sq": "element", "max_exp_avg_sq": "element"},
        ),
        OptimizerSpec(
            name="lamb",
            target="optim_core_adaptive.lamb:LAMB",
            summary="Adam whose step is scaled, tensor by tensor, to the norm of the weights: for large batches.",
            license="Apache-2.0",
            paper=Paper(
                title="Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
                url="https://arxiv.org/abs/1904.00962",
                year=2019,
            ),
            code="https://github.com/tensorflow/addons/blob/master/tensorflow_addons/optimizers/lamb.py",
            code_license="Apache-2.0",
            state={"exp_avg": "element", "exp_avg_sq": "element"},
        ),
        OptimizerSpec(
            name="prodigy",
            target="optim_core_adaptive.prodigy:Prodigy",
            summary="Adam that estimates its own learning rate from the distance travelled.",
            license="Apache-2.0",
            paper=Paper(
                title="Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
                url="https://arxiv.org/abs/2306.06101",
                year=2023,
            ),
            code="https://github.com/konstmish/prodigy",
            code_license="MIT",
            state={
                "exp_avg": "element",
                "exp_avg_sq": "element",
                "s": "element",
                "p0": "element",
                "d": "whole",
                "d_max": "whole",
                "d_numerator": "whole",
                "k": "whole",
            },
        ),
        OptimizerSpec(
            name="radam",
            target="optim_core_adaptive.radam:RAdam",
            summary="Adam that corrects the unreliable second moment of the first steps, so that it needs no warm-up.",
            license="Apache-2.0",
            paper=Paper(
                title="On the Variance of the Adaptive Learning Rate and Beyond",
                url="https://arxiv.org/abs/1908.03265",
                year=2019,
            ),
            code="https://github.com/LiyuanLucasLiu/RAdam",
            code_license="Apache-2.0",
            state={"exp_avg": "element", "exp_avg_sq": "element"},
        ),
    ]
