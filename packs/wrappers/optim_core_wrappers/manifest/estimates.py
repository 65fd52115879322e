"""Wrappers that take gradients otherwise: from several evaluations, or from none by backward."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

ESTIMATES = (
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
)
