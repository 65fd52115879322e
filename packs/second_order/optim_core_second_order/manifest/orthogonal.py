"""Momentum made orthogonal: the family of Muon."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

_ADAMW = {"exp_avg": "element_below_2d", "exp_avg_sq": "element_below_2d"}
_RECORDS = "https://github.com/KellerJordan/modded-nanogpt/tree/master/records/track_3_optimization/results"

ORTHOGONAL = (
    OptimizerSpec(
        name="normuon",
        target="optim_core_second_order.normuon:NorMuon",
        summary="Muon whose steps have rows of equal length on average.",
        license="Apache-2.0",
        paper=Paper(
            title="NorMuon: Making Muon more efficient and scalable",
            url="https://arxiv.org/abs/2510.05491",
            year=2025,
        ),
        code="https://github.com/zichongli5/NorMuon",
        code_license="MIT",
        state={"momentum_buffer": "element_from_2d", "second_momentum_buffer": "row_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="adamuon",
        target="optim_core_second_order.adamuon:AdaMuon",
        summary="Muon of the signs of momentum, with Adam's root under every element.",
        license="Apache-2.0",
        paper=Paper(title="AdaMuon: Adaptive Muon Optimizer", url="https://arxiv.org/abs/2507.11005", year=2025),
        code="https://github.com/Chongjie-Si/AdaMuon",
        code_license="none found",
        state={"momentum_buffer": "element_from_2d", "v_buffer": "element_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="muonclip",
        target="optim_core_second_order.muonclip:MuonClip",
        summary="Muon with AdamW's size of steps, and attention weights scaled down where logits grow too large.",
        license="Apache-2.0",
        paper=Paper(title="Kimi K2: Open Agentic Intelligence", url="https://arxiv.org/abs/2507.20534", year=2025),
        state={"momentum_buffer": "element_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="muon2",
        aliases=("muonsq",),
        target="optim_core_second_order.muon2:Muon2",
        summary="Muon of momentum over the root of Adam's second moment.",
        license="Apache-2.0",
        paper=Paper(
            title="Muon^2: Boosting Muon via Adaptive Second-Moment Preconditioning",
            url="https://arxiv.org/abs/2604.09967",
            year=2026,
        ),
        code=f"{_RECORDS}/20260501_muonsq",
        code_license="MIT",
        state={"momentum_buffer": "element_from_2d", "second_momentum_buffer": "element_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="muonplus",
        target="optim_core_second_order.muonplus:MuonPlus",
        summary="Muon whose steps are normalised once more, by columns or rows.",
        license="Apache-2.0",
        paper=Paper(title="Muon+", url="https://arxiv.org/abs/2602.21545", year=2026),
        code="https://github.com/K1seki221/MuonPlus",
        code_license="none found",
        state={"momentum_buffer": "element_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="adago",
        target="optim_core_second_order.adago:AdaGO",
        summary="Muon with AdaGrad's step size, one for each matrix.",
        license="Apache-2.0",
        paper=Paper(
            title="AdaGrad Meets Muon: Adaptive Stepsizes for Orthogonal Updates",
            url="https://arxiv.org/abs/2509.02981",
            year=2025,
        ),
        state={"momentum_buffer": "element_from_2d", "v": "tensor_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="namo",
        aliases=("namod",),
        target="optim_core_second_order.namo:NAMO",
        summary="Muon with Adam's step size, one for each matrix or column.",
        license="Apache-2.0",
        paper=Paper(
            title="Adam Improves Muon: Adaptive Moment Estimation with Orthogonalized Momentum",
            url="https://arxiv.org/abs/2602.17080",
            year=2026,
        ),
        code="https://github.com/minxin-zhg/namo",
        code_license="MIT",
        state={"momentum_buffer": "element_from_2d", "v": "tensor_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="muown",
        target="optim_core_second_order.muown:Muown",
        summary="Muon for the directions of rows, Adam for their lengths.",
        license="Apache-2.0",
        paper=Paper(
            title="Muown: Row-Norm Control for Muon Optimization", url="https://arxiv.org/abs/2605.10797", year=2026
        ),
        code="https://github.com/kcc-lion/muown",
        code_license="none found",
        state={
            "momentum_buffer": "element_from_2d",
            "magnitude": "row_from_2d",
            "v_norm": "row_from_2d",
            "magnitude_avg": "row_from_2d",
            "magnitude_avg_sq": "row_from_2d",
            **_ADAMW,
        },
    ),
    OptimizerSpec(
        name="contramuon",
        target="optim_core_second_order.contramuon:ContraMuon",
        summary="Muon less a part of the momentum itself, so that dominating directions get less.",
        license="Apache-2.0",
        paper=Paper(
            title="Contra-Muon and Soft-Muon", url="https://nilin.github.io/contra-muon-and-soft-muon/", year=2026
        ),
        code=f"{_RECORDS}/20260501_contra_muon",
        code_license="MIT",
        state={
            "momentum_buffer": "element_from_2d",
            "second_moment": "optim_core_second_order.shapes:larger_side",
            **_ADAMW,
        },
    ),
    OptimizerSpec(
        name="softmuon",
        target="optim_core_second_order.softmuon:SoftMuon",
        summary="Muon that keeps an order among directions: singular values to the power 0.1.",
        license="Apache-2.0",
        paper=Paper(
            title="Contra-Muon and Soft-Muon", url="https://nilin.github.io/contra-muon-and-soft-muon/", year=2026
        ),
        code=f"{_RECORDS}/20260509_contra_soft_muon",
        code_license="MIT",
        state={
            "momentum_buffer": "element_from_2d",
            "second_moment": "optim_core_second_order.shapes:larger_side",
            **_ADAMW,
        },
    ),
    OptimizerSpec(
        name="dynmuon",
        target="optim_core_second_order.dynmuon:DynMuon",
        summary="From momentum SGD over Muon to steps that favour weak directions.",
        license="Apache-2.0",
        paper=Paper(
            title="DynMuon: A Dynamic Spectral Shaping View of Muon", url="https://arxiv.org/abs/2605.17109", year=2026
        ),
        code="https://github.com/fzwark/DynMuon",
        code_license="MIT",
        needs=("total_steps",),
        state={"momentum_buffer": "element_from_2d", **_ADAMW},
    ),
    OptimizerSpec(
        name="newtonmuon",
        target="optim_core_second_order.newtonmuon:NewtonMuon",
        summary="Muon of gradients times the inverse covariance of their layer's inputs.",
        license="Apache-2.0",
        paper=Paper(title="The Newton-Muon Optimizer", url="https://arxiv.org/abs/2604.01472", year=2026),
        code="https://github.com/zhehangdu/Newton-Muon",
        code_license="MIT",
        state={
            "momentum_buffer": "element_from_2d",
            "cov": "optim_core_second_order.shapes:columns_squared",
            "inv": "optim_core_second_order.shapes:columns_squared",
            "observed": "optim_core_second_order.shapes:columns_squared",
            "passes": "tensor_from_2d",
            **_ADAMW,
        },
    ),
)
