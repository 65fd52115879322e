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
)
