"""Wrappers that are a rule around the rule of any optimizer."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

_GRAMS = Paper(
    title="Grams: Gradient Descent with Adaptive Momentum Scaling", url="https://arxiv.org/abs/2412.17107", year=2024
)

RULES_AROUND = (
    WrapperSpec(
        name="hyperball",
        aliases=("sphere", "fixed_norm"),
        target="optim_core_wrappers.hyperball:Hyperball",
        summary="Keeps the norm of each weight matrix, and turns it by an angle that lr alone says.",
        license="Apache-2.0",
        paper=Paper(
            title="Fantastic Pretraining Optimizers and Where to Find Them II: Hyperball Optimization",
            url="https://arxiv.org/abs/2606.16899",
            year=2026,
        ),
        code="https://github.com/KellerJordan/modded-nanogpt",
        code_license="MIT",
    ),
    WrapperSpec(
        name="gradient_signs",
        target="optim_core_wrappers.gradient_signs:GradientSigns",
        summary="Takes the size of each element's step from the base, its direction from the present gradient.",
        license="Apache-2.0",
        paper=_GRAMS,
        code="https://github.com/Gunale0926/Grams",
        code_license="Apache-2.0",
    ),
    WrapperSpec(
        name="eps_placement",
        target="optim_core_wrappers.eps_placement:EpsPlacement",
        summary="Moves the eps of a method to where another program has it.",
        license="Apache-2.0",
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
    ),
    WrapperSpec(
        name="bias_correction",
        target="optim_core_wrappers.bias_correction:BiasCorrection",
        summary="A switch for the bias correction of any method that has one.",
        license="Apache-2.0",
        paper=Paper(
            title="BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
            url="https://arxiv.org/abs/1810.04805",
            year=2018,
        ),
    ),
    WrapperSpec(
        name="cautious_weight_decay",
        aliases=("cwd",),
        target="optim_core_wrappers.cautious_weight_decay:CautiousWeightDecay",
        summary="Lets decoupled weight decay act only where the step shrinks the weight, too.",
        license="Apache-2.0",
        paper=Paper(
            title="Cautious Weight Decay",
            url="https://arxiv.org/abs/2510.12402",
            year=2025,
        ),
    ),
    WrapperSpec(
        name="corrected_weight_decay",
        target="optim_core_wrappers.corrected_weight_decay:CorrectedWeightDecay",
        summary="Lets decoupled weight decay fall with the square of a scheduled lr.",
        license="Apache-2.0",
        paper=Paper(
            title="Why Gradients Rapidly Increase Near the End of Training (AdamC)",
            url="https://arxiv.org/abs/2506.02285",
            year=2025,
        ),
    ),
    WrapperSpec(
        name="grokfast",
        aliases=("gradfilter",),
        target="optim_core_wrappers.grokfast:GrokFast",
        summary="Adds to each gradient a multiple of its slow part.",
        license="Apache-2.0",
        paper=Paper(
            title="Grokfast: Accelerated Grokking by Amplifying Slow Gradients",
            url="https://arxiv.org/abs/2405.20233",
            year=2024,
        ),
        code="https://github.com/ironjr/grokfast",
        code_license="MIT",
    ),
    WrapperSpec(
        name="orthograd",
        target="optim_core_wrappers.orthograd:OrthoGrad",
        shortfall="Norms grow without end under plain SGD, and what has one element has no direction at right angles.",
        summary="Takes from each gradient what goes along the weights.",
        license="Apache-2.0",
        paper=Paper(
            title="Grokking at the Edge of Numerical Stability",
            url="https://arxiv.org/abs/2501.04697",
            year=2025,
        ),
        code="https://github.com/LucasPrietoAl/grokking-at-the-edge-of-numerical-stability",
        code_license="MIT",
    ),
    WrapperSpec(
        name="magma",
        target="optim_core_wrappers.magma:Magma",
        summary="Leaves out steps of whole tensors at random, and damps the others by their agreement.",
        license="Apache-2.0",
        paper=Paper(
            title="On Surprising Effectiveness of Masking Updates in Adaptive Optimizers",
            url="https://arxiv.org/abs/2602.15322",
            year=2026,
        ),
    ),
    WrapperSpec(
        name="schedulefree",
        aliases=("schedulefreewrapper",),
        target="optim_core_wrappers.schedulefree:ScheduleFree",
        summary="Averaging in the place of a schedule, for any method.",
        license="Apache-2.0",
        needs=("train_eval_mode",),
        paper=Paper(
            title="The Road Less Scheduled",
            url="https://arxiv.org/abs/2405.15682",
            year=2024,
        ),
        code="https://github.com/facebookresearch/schedule_free",
        code_license="Apache-2.0",
    ),
    WrapperSpec(
        name="emanesterov",
        target="optim_core_wrappers.emanesterov:EMANesterov",
        summary="Moves weights ahead along their averaged displacement before gradients are taken.",
        license="Apache-2.0",
        needs=("closure",),
        paper=Paper(
            title="EMA-Nesterov",
            url="https://arxiv.org/abs/2605.25395",
            year=2026,
        ),
        code="https://github.com/KellerJordan/modded-nanogpt/tree/master/records/track_3_optimization/results/20260522_ema_nesterov_muon",
        code_license="MIT",
    ),
    WrapperSpec(
        name="snoo",
        aliases=(
            "outer_nesterov",
            "diloco1",
            "single_worker_diloco",
        ),
        target="optim_core_wrappers.snoo:Snoo",
        summary="Every k steps, an outer step of Nesterov momentum on what they did.",
        license="Apache-2.0",
        paper=Paper(
            title="SNOO: Step-K Nesterov Outer Optimizer - The Surprising Effectiveness of Nesterov Momentum Applied "
            "to Pseudo-Gradients",
            url="https://arxiv.org/abs/2510.15830",
            year=2025,
        ),
        code="https://github.com/KellerJordan/modded-nanogpt",
        code_license="MIT",
    ),
    WrapperSpec(
        name="radial_brake",
        target="optim_core_wrappers.radial_brake:RadialBrake",
        summary="Lets a share of what a step would make of the norm of a weight matrix happen.",
        license="Apache-2.0",
        code="https://github.com/KellerJordan/modded-nanogpt",
        code_license="Apache-2.0",
    ),
    WrapperSpec(
        name="soda",
        aliases=(
            "soda_wrapper",
            "anchor_decay",
        ),
        target="optim_core_wrappers.soda:Soda",
        summary="Pulls weights towards where they began, ever less, instead of decaying them.",
        license="Apache-2.0",
        paper=Paper(
            title="Optimistic Dual Averaging Unifies Modern Optimizers",
            url="https://arxiv.org/abs/2605.11172",
            year=2026,
        ),
        code="https://github.com/tmpethick/soda_code",
        code_license="none found",
    ),
    WrapperSpec(
        name="update_floor",
        aliases=(
            "uw_floor",
            "rowfloor",
        ),
        target="optim_core_wrappers.update_floor:UpdateFloor",
        summary="Keeps the update of each weight matrix, or row, above a share of the weights.",
        license="Apache-2.0",
        code="https://github.com/KellerJordan/modded-nanogpt",
        code_license="MIT",
    ),
)
