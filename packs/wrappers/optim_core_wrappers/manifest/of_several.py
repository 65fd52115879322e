"""Wrappers that make one step of several: of evaluations at two points, or of two methods."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

OF_SEVERAL = (
    WrapperSpec(
        name="svrg",
        target="optim_core_wrappers.svrg:SVRG",
        summary="Takes the noise of mini-batches out of gradients, by a snapshot and the gradient of all data there.",
        license="Apache-2.0",
        needs=("closure",),
        paper=Paper(
            title="Accelerating Stochastic Gradient Descent using Predictive Variance Reduction",
            url="https://papers.nips.cc/paper/2013/hash/ac1dd209cbcc5e5d1c6e28598e8cbbe8-Abstract.html",
            year=2013,
        ),
    ),
    WrapperSpec(
        name="graft",
        aliases=("grafting",),
        target="optim_core_wrappers.graft:Graft",
        summary="Takes the length of each step from the base, and its direction from another method.",
        license="Apache-2.0",
        paper=Paper(
            title="Disentangling Adaptive Gradient Methods from Learning Rates",
            url="https://arxiv.org/abs/2002.11803",
            year=2020,
        ),
    ),
    WrapperSpec(
        name="spsa",
        aliases=("mezo",),
        target="optim_core_wrappers.spsa:SPSA",
        summary="Estimates gradients from losses alone, at two points on a random line: no backward pass.",
        license="Apache-2.0",
        needs=("closure",),
        paper=Paper(
            title="Fine-Tuning Language Models with Just Forward Passes",
            url="https://arxiv.org/abs/2305.17333",
            year=2023,
        ),
        code="https://github.com/princeton-nlp/MeZO",
        code_license="MIT",
    ),
)
