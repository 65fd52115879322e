"""Methods that take curvature from several evaluations of the loss."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

CURVATURE = (
    OptimizerSpec(
        name="lbfgs",
        target="optim_core_second_order.lbfgs:LBFGS",
        summary="Quasi-Newton steps from the last changes of the gradient, with a line search.",
        license="Apache-2.0",
        paper=Paper(
            title="On the limited memory BFGS method for large scale optimization",
            url="https://doi.org/10.1007/BF01589116",
            year=1989,
        ),
        code="https://github.com/pytorch/pytorch",
        code_license="BSD-3-Clause",
        needs=("closure",),
        state={
            "prev_grad": "element",
            "prev_step": "element",
            "old_dirs": "100 element",
            "old_stps": "100 element",
            "pairs": "whole",
            "iterations": "whole",
        },
    ),
    OptimizerSpec(
        name="ivon",
        target="optim_core_second_order.ivon:IVON",
        summary="Learns a normal distribution of the weights; each step draws from it.",
        license="Apache-2.0",
        paper=Paper(
            title="Variational Learning is Effective for Large Deep Networks",
            url="https://arxiv.org/abs/2402.17641",
            year=2024,
        ),
        code="https://github.com/team-approx-bayes/ivon",
        code_license="GPL-3.0-only",
        needs=("closure",),
        state={"momentum": "element", "hess": "element"},
    ),
    OptimizerSpec(
        name="nonlinearcg",
        aliases=("conjugate_gradients", "ncg"),
        target="optim_core_second_order.nonlinearcg:NonlinearCG",
        summary="Conjugate directions with a strong Wolfe line search, by one of three formulas.",
        license="Apache-2.0",
        paper=Paper(
            title="A survey of nonlinear conjugate gradient methods",
            url="http://www.ybook.co.jp/online2/oppjo/vol2/p35.html",
            year=2006,
        ),
        needs=("closure",),
        state={"prev_grad": "element", "direction": "element", "promise": "whole", "iterations": "whole"},
    ),
)
