"""The pack's manifest: specs only, no torch."""

from __future__ import annotations

from optim_core.catalog import GroupsSpec, OptimizerSpec, Paper, hookimpl
from optim_core_second_order.manifest.compositions import COMPOSITIONS
from optim_core_second_order.manifest.curvature import CURVATURE
from optim_core_second_order.manifest.low_rank import LOW_RANK
from optim_core_second_order.manifest.orthogonal import ORTHOGONAL
from optim_core_second_order.manifest.psgd import PSGD
from optim_core_second_order.manifest.shampoo_kin import SHAMPOO_KIN
from optim_core_second_order.manifest.spectral import SPECTRAL

OPTIM_CORE_API = 1


@hookimpl
def optim_core_optimizers() -> list[OptimizerSpec]:
    """The pack's optimizers."""
    return [
        OptimizerSpec(
            name="sophiah",
            aliases=("sophia",),
            target="optim_core_second_order.sophiah:SophiaH",
            summary="Average gradient over a sampled Hessian diagonal, with every step clipped.",
            license="Apache-2.0",
            paper=Paper(
                title="Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
                url="https://arxiv.org/abs/2305.14342",
                year=2023,
            ),
            code="https://github.com/Liuhong99/Sophia",
            code_license="MIT",
            needs=("create_graph",),
            state={"exp_avg": "element", "hessian": "element"},
        ),
        OptimizerSpec(
            name="adahessian",
            target="optim_core_second_order.adahessian:AdaHessian",
            summary="Adam whose second moment is that of a sampled, smoothed Hessian diagonal.",
            license="Apache-2.0",
            paper=Paper(
                title="ADAHESSIAN: An Adaptive Second Order Optimizer for Machine Learning",
                url="https://arxiv.org/abs/2006.00719",
                year=2020,
            ),
            code="https://github.com/amirgholami/adahessian",
            code_license="MIT",
            needs=("create_graph",),
            state={"exp_avg": "element", "exp_hessian_diag_sq": "element"},
        ),
        OptimizerSpec(
            name="shampoo",
            target="optim_core_second_order.shampoo:Shampoo",
            summary="One preconditioning matrix for each axis of a tensor.",
            license="Apache-2.0",
            paper=Paper(
                title="Shampoo: Preconditioned Stochastic Tensor Optimization",
                url="https://arxiv.org/abs/1802.09568",
                year=2018,
            ),
            code="https://github.com/moskomule/shampoo.pytorch",
            code_license="none found",
            state={"statistics": "axes", "inverse_roots": "axes"},
        ),
        OptimizerSpec(
            name="muon",
            target="optim_core_second_order.muon:Muon",
            summary="Momentum made orthogonal, for hidden matrices; AdamW for everything else.",
            license="Apache-2.0",
            paper=Paper(
                title="Muon: An optimizer for hidden layers in neural networks",
                url="https://kellerjordan.github.io/posts/muon/",
                year=2024,
            ),
            code="https://github.com/KellerJordan/Muon",
            code_license="MIT",
            state={
                "momentum_buffer": "element_from_2d",
                "exp_avg": "element_below_2d",
                "exp_avg_sq": "element_below_2d",
            },
        ),
        OptimizerSpec(
            name="soap",
            target="optim_core_second_order.soap:SOAP",
            summary="Adam in the basis in which Shampoo's matrices are diagonal.",
            license="Apache-2.0",
            paper=Paper(
                title="SOAP: Improving and Stabilizing Shampoo using Adam",
                url="https://arxiv.org/abs/2409.11321",
                year=2024,
            ),
            code="https://github.com/nikhilvyas/SOAP",
            code_license="MIT",
            state={"exp_avg": "element", "exp_avg_sq": "element", "GG": "axes_from_2d", "Q": "axes_from_2d"},
        ),
        OptimizerSpec(
            name="sophiag",
            target="optim_core_second_order.sophiag:SophiaG",
            summary="Sophia with the curvature of a cross-entropy, from labels that the model draws.",
            license="Apache-2.0",
            paper=Paper(
                title="Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
                url="https://arxiv.org/abs/2305.14342",
                year=2023,
            ),
            code="https://github.com/Liuhong99/Sophia",
            code_license="MIT",
            state={"exp_avg": "element", "hessian": "element", "last_estimate": "whole"},
        ),
        OptimizerSpec(
            name="scalableshampoo",
            target="optim_core_second_order.scalableshampoo:ScalableShampoo",
            summary="Shampoo on blocks, with the length of its steps from SGD or AdaGrad.",
            license="Apache-2.0",
            paper=Paper(
                title="Scalable Second Order Optimization for Deep Learning",
                url="https://arxiv.org/abs/2002.09018",
                year=2020,
            ),
            code="https://github.com/google-research/google-research/tree/master/scalable_shampoo",
            code_license="Apache-2.0",
            state={
                "momentum_buffer": "element",
                "statistics": "optim_core_second_order.shapes:scalable_size",
                "inverse_roots": "optim_core_second_order.shapes:scalable_size",
            },
        ),
        OptimizerSpec(
            name="distributedshampoo",
            target="optim_core_second_order.distributedshampoo:DistributedShampoo",
            summary="Shampoo on blocks of an averaged gradient, with grafting block by block.",
            license="Apache-2.0",
            paper=Paper(
                title="A Distributed Data-Parallel PyTorch Implementation of the Distributed Shampoo Optimizer for "
                "Training Neural Networks At-Scale",
                url="https://arxiv.org/abs/2309.06497",
                year=2023,
            ),
            code="https://github.com/facebookresearch/optimizers",
            code_license="BSD-3-Clause",
            state={
                "exp_avg": "element",
                "statistics": "optim_core_second_order.shapes:distributed_size",
                "inverse_roots": "optim_core_second_order.shapes:distributed_size",
            },
        ),
        OptimizerSpec(
            name="apollo",
            aliases=("apollodqn",),
            target="optim_core_second_order.apollo:Apollo",
            summary="Diagonal quasi-Newton steps, the curvature from changes of the average gradient.",
            license="Apache-2.0",
            paper=Paper(
                title="Apollo: An Adaptive Parameter-wise Diagonal Quasi-Newton Method for Nonconvex Stochastic "
                "Optimization",
                url="https://arxiv.org/abs/2009.13586",
                year=2020,
            ),
            code="https://github.com/XuezheMax/apollo",
            code_license="Apache-2.0",
            state={"exp_avg_grad": "element", "approx_hessian": "element", "update": "element"},
        ),
        OptimizerSpec(
            name="kron",
            aliases=("psgdkron",),
            target="optim_core_second_order.kron:Kron",
            summary="PSGD: a triangular factor for each axis, fitted so that they whiten the gradient.",
            license="Apache-2.0",
            paper=Paper(
                title="Curvature-Informed SGD via General Purpose Lie-Group Preconditioners",
                url="https://arxiv.org/abs/2402.04553",
                year=2024,
            ),
            code="https://github.com/evanatyourservice/kron_torch",
            code_license="CC-BY-4.0",
            state={
                "momentum_buffer": "element",
                "Q": "optim_core_second_order.shapes:kron_size",
                "waited": "whole",
            },
        ),
        *CURVATURE,
        *LOW_RANK,
        *PSGD,
        *SHAMPOO_KIN,
        *COMPOSITIONS,
        *ORTHOGONAL,
        *SPECTRAL,
    ]


@hookimpl
def optim_core_groups() -> list[GroupsSpec]:
    """The pack's rules for parameter groups."""
    return [
        GroupsSpec(
            name="blocks",
            target="optim_core_second_order.blockwise:blocks",
            summary="The matrices that parameters are made of: heads, gates, experts, groups of convolutions.",
        )
    ]
