"""Methods that are composed of a method and wrappers around its rule."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

COMPOSITIONS = (
    OptimizerSpec(
        name="grams",
        target="optim_core_adaptive.grams:Grams",
        summary="AdamW whose steps go in the direction of the present gradient.",
        license="Apache-2.0",
        paper=Paper(
            title="Grams: Gradient Descent with Adaptive Momentum Scaling",
            url="https://arxiv.org/abs/2412.17107",
            year=2024,
        ),
        code="https://github.com/Gunale0926/Grams",
        code_license="Apache-2.0",
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
)
