"""Methods with a matrix for each axis, as Shampoo and SOAP have."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

_KL = Paper(
    title="Understanding and Improving Shampoo and SOAP via Kullback-Leibler Minimization",
    url="https://arxiv.org/abs/2509.03378",
    year=2025,
)

_NANOGPT = "https://github.com/KellerJordan/modded-nanogpt/tree/master/records/track_3_optimization"
_ADAMW = {"exp_avg": "element_below_2d", "exp_avg_sq": "element_below_2d"}

SHAMPOO_KIN = (
    OptimizerSpec(
        name="splus",
        target="optim_core_second_order.splus:SPlus",
        summary="Signs of the momentum in Shampoo's eigenbasis, and an average of the weights for evaluation.",
        license="Apache-2.0",
        paper=Paper(
            title="A Stable Whitening Optimizer for Efficient Neural Network Training",
            url="https://arxiv.org/abs/2506.07254",
            year=2025,
        ),
        code="https://github.com/kvfrans/splus",
        code_license="none found",
        needs=("train_eval_mode",),
        state={
            "momentum": "element",
            "ema": "element",
            "sides": "optim_core_second_order.shapes:matrix_axes",
            "q_sides": "optim_core_second_order.shapes:matrix_axes",
        },
    ),
    OptimizerSpec(
        name="klsoap",
        target="optim_core_second_order.klsoap:KLSOAP",
        summary="SOAP whose two matrices are fitted together.",
        license="Apache-2.0",
        paper=_KL,
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "GG": "optim_core_second_order.shapes:kl_size",
            "Q": "optim_core_second_order.shapes:kl_size",
        },
    ),
    OptimizerSpec(
        name="solp",
        target="optim_core_second_order.solp:SOLP",
        summary="SOAP with LaProp in the basis: gradients are divided before they are averaged.",
        license="Apache-2.0",
        paper=Paper(
            title="SOAP: Improving and Stabilizing Shampoo using Adam",
            url="https://arxiv.org/abs/2409.11321",
            year=2024,
        ),
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "GG": "optim_core_second_order.shapes:kl_size",
            "Q": "optim_core_second_order.shapes:kl_size",
        },
    ),
    OptimizerSpec(
        name="klshampoo",
        target="optim_core_second_order.klshampoo:KLShampoo",
        summary="Shampoo whose two matrices are fitted together, to the gradient's covariance.",
        license="Apache-2.0",
        paper=_KL,
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={
            "exp_avg": "element",
            "GG": "optim_core_second_order.shapes:kl_size",
            "Q": "optim_core_second_order.shapes:kl_size",
        },
    ),
    OptimizerSpec(
        name="soapmuon",
        target="optim_core_second_order.soapmuon:SOAPMuon",
        summary="Muon's orthogonal step from SOAP's direction; AdamW for everything else.",
        license="Apache-2.0",
        paper=Paper(title="SOAP-Muon", url="https://nikhilvyas.github.io/SOAP_Muon.pdf", year=2026),
        code=_NANOGPT,
        code_license="MIT",
        state={
            "momentum_buffer": "element_from_2d",
            "rotated_sq": "element_from_2d",
            "GG": "optim_core_second_order.shapes:grams",
            "Q": "optim_core_second_order.shapes:grams",
            **_ADAMW,
        },
    ),
    OptimizerSpec(
        name="sinksoap",
        target="optim_core_second_order.sinksoap:SinkSOAP",
        summary="Momentum balanced by rows and columns in Shampoo's eigenbasis; AdamW for everything else.",
        license="Apache-2.0",
        paper=Paper(
            title="SinkSOAP, a record of modded-nanogpt", url=f"{_NANOGPT}/results/20260514_sinksoap", year=2026
        ),
        code=f"{_NANOGPT}/results/20260514_sinksoap",
        code_license="MIT",
        state={
            "momentum_buffer": "element_from_2d",
            "GG": "optim_core_second_order.shapes:all_grams",
            "second_moment": "optim_core_second_order.shapes:longer_side",
            **_ADAMW,
        },
    ),
    OptimizerSpec(
        name="rekls",
        target="optim_core_second_order.rekls:REKLS",
        summary="Adam in the eigenbasis of KL-Shampoo's matrices, renewed at every step with the gradient at hand.",
        license="Apache-2.0",
        paper=_KL,
        code="https://github.com/NVIDIA-NeMo/Emerging-Optimizers",
        code_license="Apache-2.0",
        state={
            "rotated_avg": "element_from_2d",
            "rotated_sq": "element_from_2d",
            "Q": "optim_core_second_order.shapes:all_grams",
            "eigenvalues": "optim_core_second_order.shapes:both_sides",
            **_ADAMW,
        },
    ),
    OptimizerSpec(
        name="dash",
        aliases=("dashlayerwise",),
        target="optim_core_second_order.dash:DASH",
        summary="Shampoo on blocks of matrices, whose roots are taken for all blocks of a size at once.",
        license="Apache-2.0",
        paper=Paper(
            title="DASH: Faster Shampoo via Batched Block Preconditioning and Efficient Inverse-Root Solvers",
            url="https://arxiv.org/abs/2602.02016",
            year=2026,
        ),
        code="https://github.com/IST-DASLab/ISTA-DASLab-Optimizers",
        code_license="MIT",
        state={
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "statistics": "optim_core_second_order.shapes:dash_size",
            "inverse_roots": "optim_core_second_order.shapes:dash_size",
        },
    ),
)
