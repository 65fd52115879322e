"""The pack's manifest: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper, WrapperSpec, hookimpl
from optim_core_sharpness.manifest.bayesian import BAYESIAN
from optim_core_sharpness.manifest.excursions import EXCURSIONS

OPTIM_CORE_API = 1


@hookimpl
def optim_core_optimizers() -> list[OptimizerSpec]:
    """The pack's optimizers."""
    return [*BAYESIAN]


@hookimpl
def optim_core_wrappers() -> list[WrapperSpec]:
    """The pack's wrappers."""
    return [
        WrapperSpec(
            name="sam",
            target="optim_core_sharpness.sam:SAM",
            summary="Takes the gradient at the worst point near by, and so prefers flat minima.",
            license="Apache-2.0",
            paper=Paper(
                title="Sharpness-Aware Minimization for Efficiently Improving Generalization",
                url="https://arxiv.org/abs/2010.01412",
                year=2020,
            ),
            code="https://github.com/google-research/sam",
            code_license="Apache-2.0",
            needs=("closure",),
        ),
        WrapperSpec(
            name="asam",
            target="optim_core_sharpness.asam:ASAM",
            summary="SAM within a radius that is relative to the size of each weight.",
            license="Apache-2.0",
            paper=Paper(
                title="ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural "
                "Networks",
                url="https://arxiv.org/abs/2102.11600",
                year=2021,
            ),
            code="https://github.com/SamsungLabs/ASAM",
            code_license="Apache-2.0",
            needs=("closure", "named_params"),
        ),
        WrapperSpec(
            name="gsam",
            target="optim_core_sharpness.gsam:GSAM",
            summary="SAM that also closes the gap between the loss near by and the loss here.",
            license="Apache-2.0",
            paper=Paper(
                title="Surrogate Gap Minimization Improves Sharpness-Aware Training",
                url="https://arxiv.org/abs/2203.08065",
                year=2022,
            ),
            code="https://github.com/juntang-zhuang/GSAM",
            code_license="MIT",
            needs=("closure",),
        ),
        WrapperSpec(
            name="wsam",
            aliases=("weightedsam",),
            target="optim_core_sharpness.wsam:WSAM",
            summary="SAM with sharpness as a term of its own, weighted, and beside the base's step.",
            license="Apache-2.0",
            paper=Paper(
                title="Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization Term",
                url="https://arxiv.org/abs/2305.15817",
                year=2023,
            ),
            code="https://github.com/intelligent-machine-learning/dlrover",
            code_license="Apache-2.0",
            needs=("closure",),
        ),
        WrapperSpec(
            name="looksam",
            target="optim_core_sharpness.looksam:LookSAM",
            summary="SAM with a second evaluation every k steps only, used again in between.",
            license="Apache-2.0",
            paper=Paper(
                title="Towards Efficient and Scalable Sharpness-Aware Minimization",
                url="https://arxiv.org/abs/2203.02714",
                year=2022,
            ),
            needs=("closure",),
        ),
        *EXCURSIONS,
    ]
