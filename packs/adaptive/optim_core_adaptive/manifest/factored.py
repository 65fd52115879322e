"""Methods that keep a second moment as means of rows and columns."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

FACTORED = (
    OptimizerSpec(
        name="came",
        target="optim_core_adaptive.came:CAME",
        summary="AdaFactor with a first moment that counts for less where updates stray from it.",
        license="Apache-2.0",
        paper=Paper(
            title="CAME: Confidence-guided Adaptive Memory Efficient Optimization",
            url="https://arxiv.org/abs/2307.02047",
            year=2023,
        ),
        code="https://github.com/yangluo7/CAME",
        code_license="MIT",
        state={
            "exp_avg": "element",
            "exp_avg_sq_row": "all_but_last",
            "exp_avg_sq_col": "all_but_second_last",
            "exp_avg_res_row": "all_but_last",
            "exp_avg_res_col": "all_but_second_last",
            "exp_avg_sq": "element_below_2d",
        },
    ),
    OptimizerSpec(
        name="adafactorbv",
        aliases=("adafactorbigvision",),
        target="optim_core_adaptive.adafactorbv:AdafactorBV",
        summary="AdaFactor in big_vision's form: for large vision transformers.",
        license="Apache-2.0",
        paper=Paper(
            title="Scaling Vision Transformers",
            url="https://arxiv.org/abs/2106.04560",
            year=2021,
        ),
        code="https://github.com/google-research/big_vision",
        code_license="Apache-2.0",
        state={
            "exp_avg_sq_r": "optim_core_adaptive.sizes:largest_is_one",
            "exp_avg_sq_c": "optim_core_adaptive.sizes:second_largest_is_one",
            "exp_avg_sq": "optim_core_adaptive.sizes:element_unless_factored",
            "exp_avg": "element",
        },
    ),
)
