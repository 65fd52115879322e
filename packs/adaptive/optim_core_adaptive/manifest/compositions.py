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
    OptimizerSpec(
        name="adamc",
        target="optim_core_adaptive.adamc:AdamC",
        summary="AdamW whose decay falls with the square of a scheduled lr, where a normalisation follows.",
        license="Apache-2.0",
        paper=Paper(
            title="Why Gradients Rapidly Increase Near the End of Training",
            url="https://arxiv.org/abs/2506.02285",
            year=2025,
        ),
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
    OptimizerSpec(
        name="hyperballadamw",
        target="optim_core_adaptive.hyperballadamw:HyperBallAdamW",
        summary="Turns each weight matrix by an angle, along gradient over root of average square.",
        license="Apache-2.0",
        paper=Paper(
            title="Fantastic Pretraining Optimizers and Where to Find Them 2.1: Hyperball Optimization (blog)",
            url="https://psychedelic-sunstone-851.notion.site/Fantastic-Pretraining-Optimizers-and-Where-to-Find-Them-2-1-Hyperball-Optimization-2e924306e6f280e7a5ffee00eb40a0dd",
            year=2025,
        ),
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={"exp_avg_sq": "element", "first_norm": "tensor"},
    ),
    OptimizerSpec(
        name="schedulefreeradam",
        aliases=("radamschedulefree",),
        target="optim_core_adaptive.schedulefreeradam:ScheduleFreeRAdam",
        summary="RAdam without a schedule: an average of all steps takes its place.",
        license="Apache-2.0",
        needs=("train_eval_mode",),
        paper=Paper(
            title="The Road Less Scheduled",
            url="https://arxiv.org/abs/2405.15682",
            year=2024,
        ),
        code="https://github.com/facebookresearch/schedule_free",
        code_license="Apache-2.0",
        state={"exp_avg_sq": "element", "z": "element", "weight_sum": "tensor", "lr_max": "tensor"},
    ),
    OptimizerSpec(
        name="gpaadamw",
        aliases=("gpa",),
        target="optim_core_adaptive.gpaadamw:GPAAdamW",
        summary="AdamW that is evaluated at an average of its steps, with gradients taken in between.",
        license="Apache-2.0",
        needs=("train_eval_mode",),
        paper=Paper(
            title="Smoothing DiLoCo with Primal Averaging for Faster Training of LLMs",
            url="https://arxiv.org/abs/2512.17131",
            year=2025,
        ),
        code="https://github.com/facebookresearch/optimizers",
        code_license="BSD-3-Clause",
        state={
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "z": "element",
            "weight_sum": "tensor",
            "lr_max": "tensor",
        },
    ),
    OptimizerSpec(
        name="grokfastadamw",
        target="optim_core_adaptive.grokfastadamw:GrokFastAdamW",
        summary="AdamW that amplifies the slow part of each gradient.",
        license="Apache-2.0",
        paper=Paper(
            title="Grokfast: Accelerated Grokking by Amplifying Slow Gradients",
            url="https://arxiv.org/abs/2405.20233",
            year=2024,
        ),
        code="https://github.com/lucidrains/grokfast-pytorch",
        code_license="MIT",
        state={"exp_avg": "element", "exp_avg_sq": "element", "grok_exp_avg": "element", "steps": "tensor"},
    ),
    OptimizerSpec(
        name="cadamw",
        aliases=("cautious_adamw",),
        target="optim_core_adaptive.cadamw:CAdamW",
        summary="AdamW without the elements of a step that go against the present gradient.",
        license="Apache-2.0",
        paper=Paper(
            title="Cautious Optimizers: Improving Training with One Line of Code",
            url="https://arxiv.org/abs/2411.16085",
            year=2024,
        ),
        code="https://github.com/kyleliang919/C-Optim",
        code_license="MIT",
        state={"exp_avg": "element", "exp_avg_sq": "element"},
    ),
)
