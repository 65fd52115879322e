"""The manifest of the pack: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec, hookimpl
from optim_core_wrappers.manifest.against_spikes import AGAINST_SPIKES
from optim_core_wrappers.manifest.averages import AVERAGES
from optim_core_wrappers.manifest.memory import MEMORY
from optim_core_wrappers.manifest.of_several import OF_SEVERAL
from optim_core_wrappers.manifest.rules_around import RULES_AROUND
from optim_core_wrappers.manifest.tuners import TUNERS

OPTIM_CORE_API = 1


@hookimpl
def optim_core_wrappers() -> list[WrapperSpec]:
    """The pack's wrappers."""
    return [
        WrapperSpec(
            name="lookahead",
            target="optim_core_wrappers.lookahead:Lookahead",
            summary="Every k steps goes back part of the way to slowly moving weights.",
            license="Apache-2.0",
            paper=Paper(
                title="Lookahead Optimizer: k steps forward, 1 step back",
                url="https://arxiv.org/abs/1907.08610",
                year=2019,
            ),
            code="https://github.com/michaelrzhang/lookahead",
            code_license="MIT",
        ),
        WrapperSpec(
            name="ema",
            aliases=("model_ema", "weight_ema"),
            target="optim_core_wrappers.ema:EMA",
            summary="Keeps a running average of the weights, to evaluate with.",
            license="Apache-2.0",
            paper=Paper(
                title="Acceleration of Stochastic Approximation by Averaging",
                url="https://doi.org/10.1137/0330046",
                year=1992,
            ),
            code="https://github.com/huggingface/pytorch-image-models",
            code_license="Apache-2.0",
        ),
        WrapperSpec(
            name="gc",
            aliases=("gradient_centralization",),
            target="optim_core_wrappers.gc:GradientCentralization",
            summary="Centres the gradient of each output unit about zero.",
            license="Apache-2.0",
            paper=Paper(
                title="Gradient Centralization: A New Optimization Technique for Deep Neural Networks",
                url="https://arxiv.org/abs/2004.01461",
                year=2020,
            ),
            code="https://github.com/Yonghongwei/Gradient-Centralization",
            code_license="none found",
        ),
        WrapperSpec(
            name="agc",
            aliases=("adaptive_gradient_clipping",),
            target="optim_core_wrappers.agc:AGC",
            summary="Holds the gradient of each output unit below a share of the norm of its weights.",
            license="Apache-2.0",
            paper=Paper(
                title="High-Performance Large-Scale Image Recognition Without Normalization",
                url="https://arxiv.org/abs/2102.06171",
                year=2021,
            ),
            code="https://github.com/google-deepmind/deepmind-research/tree/master/nfnets",
            code_license="Apache-2.0",
        ),
        WrapperSpec(
            name="cautious",
            aliases=("caution",),
            target="optim_core_wrappers.cautious:Cautious",
            summary="Leaves out what goes against the present gradient, and enlarges the rest of the update.",
            license="Apache-2.0",
            paper=Paper(
                title="Cautious Optimizers: Improving Training with One Line of Code",
                url="https://arxiv.org/abs/2411.16085",
                year=2024,
            ),
            code="https://github.com/kyleliang919/C-Optim",
            code_license="MIT",
        ),
        WrapperSpec(
            name="gradnorm",
            aliases=("gradient_normalization",),
            target="optim_core_wrappers.gradnorm:GradientNormalization",
            summary="Divides each tensor's gradient by its standard deviation.",
            license="Apache-2.0",
            paper=Paper(
                title="Ranger21: a synergistic deep learning optimizer",
                url="https://arxiv.org/abs/2106.13731",
                year=2021,
            ),
            code="https://github.com/lessw2020/Ranger21",
            code_license="Apache-2.0",
        ),
        WrapperSpec(
            name="normloss",
            target="optim_core_wrappers.normloss:NormLoss",
            summary="Pulls the norm of each output unit's weights towards one, apart from the gradient.",
            license="Apache-2.0",
            paper=Paper(
                title="Norm Loss: An efficient yet effective regularization method for deep neural networks",
                url="https://arxiv.org/abs/2103.06583",
                year=2021,
            ),
        ),
        WrapperSpec(
            name="accumulate",
            aliases=("gradient_accumulation",),
            target="optim_core_wrappers.accumulate:Accumulate",
            summary="Steps once for several micro-batches, with the mean or sum of their gradients.",
            license="Apache-2.0",
            paper=Paper(
                title="Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
                url="https://arxiv.org/abs/1706.02677",
                year=2017,
            ),
        ),
        WrapperSpec(
            name="clip",
            aliases=("gradient_clipping",),
            target="optim_core_wrappers.clip:GradientClipping",
            summary="Keeps the norm of all gradients together, or every element, within a bound.",
            license="Apache-2.0",
            paper=Paper(
                title="On the difficulty of training recurrent neural networks",
                url="https://arxiv.org/abs/1211.5063",
                year=2012,
            ),
        ),
        WrapperSpec(
            name="decay",
            aliases=("weight_decay",),
            target="optim_core_wrappers.decay:WeightDecay",
            summary="Weight decay, decoupled or L2, for methods that have none of their own.",
            license="Apache-2.0",
            paper=Paper(
                title="Decoupled Weight Decay Regularization",
                url="https://arxiv.org/abs/1711.05101",
                year=2017,
            ),
        ),
        WrapperSpec(
            name="softplus",
            aliases=("sadam",),
            target="optim_core_wrappers.softplus:SoftplusDenominator",
            summary="Smooths what an adaptive method divides by, so that no element is divided by nearly zero.",
            license="Apache-2.0",
            paper=Paper(
                title="Calibrating the Adaptive Learning Rate to Improve Convergence of ADAM",
                url="https://arxiv.org/abs/1908.00700",
                year=2019,
            ),
            code="https://github.com/neilliang90/Sadam",
            code_license="none found",
        ),
        WrapperSpec(
            name="stablewd",
            aliases=("sgds", "adams"),
            target="optim_core_wrappers.stablewd:StableWeightDecay",
            summary="Weight decay in proportion to the step size in force, as momentum or a second moment make it.",
            license="Apache-2.0",
            paper=Paper(
                title="On the Overlooked Pitfalls of Weight Decay and How to Mitigate Them: A Gradient-Norm "
                "Perspective",
                url="https://arxiv.org/abs/2011.11152",
                year=2020,
            ),
            code="https://github.com/zeke-xie/stable-weight-decay-regularization",
            code_license="MIT",
        ),
        *RULES_AROUND,
        *AVERAGES,
        *AGAINST_SPIKES,
        *OF_SEVERAL,
        *TUNERS,
        *MEMORY,
    ]
