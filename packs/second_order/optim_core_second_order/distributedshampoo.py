"""DistributedShampoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from optim_core import hyper, state
from optim_core.errors import InvalidOption
from optim_core.methods import in_blocks
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Value, lerp, maximum, sqrt, square, stacked
from optim_core_second_order.blocks import added, cut, grafted, joined, turned
from optim_core_second_order.roots import inverse_roots
from optim_core_second_order.shapes import Shape, distributed_view, squares


def _squares(shape: Shape, group: Mapping[str, Any]) -> list[Shape]:
    longest = group["max_preconditioner_dim"]
    return squares(distributed_view(shape, longest), longest)


class DistributedShampoo(RuleOptimizer):
    """Shampoo on blocks of an averaged gradient, block by block as long as another method's step if wanted.

    Neighbouring axes are merged from the last one backwards and long ones cut into blocks; r axes are left. For every
    block and each of its axes, G_i being the block of g with axis i in front, t counting from 1, and c correcting the
    averages as in Adam::

        H_i = beta2 H_i + (1 - beta2) G_i G_i^T               beta2 = 1: the sum, and c = 1
        P_i = (H_i / c + epsilon I)^(-1/2r)                   every precondition_frequency steps
        f = (beta3 m + (1 - beta3) g) / (1 - beta3 beta1^(t-1))
        m = beta1 m + (1 - beta1) g                           beta3 = -1 is beta1; beta1 = 0: f = g
        p = p (1 - lr weight_decay) - lr f P_1 ... P_r

    With a ``graft_type`` each block of the step gets the length of a = f / (sqrt(v) + graft_eps), v being the sum of
    g^2 ("adagrad"), its average ("rmsprop"), or the average corrected ("adam"). Before ``start_preconditioning_step``
    (-1: precondition_frequency) the step is a, or f without a graft. Vectors are preconditioned too, by a full matrix.

    Against ScalableShampoo: what is averaged is the gradient, lengths are taken block by block, epsilon is absolute.
    Take lr, betas and weight decay from the method that you graft from. All runs on one device, whatever the name says.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> options = {"max_preconditioner_dim": 2, "betas": (0.0, 1.0)}
        >>> loss = DistributedShampoo([w], lr=0.5, **options).minimize(lambda: 5 * w.square().sum())
        >>> torch.allclose(w, 0.5 * torch.eye(2))
        True

    Source: Shi et al., A Distributed Data-Parallel PyTorch Implementation of the Distributed Shampoo Optimizer for
    Training Neural Networks At-Scale, 2023, Algorithm 1, https://arxiv.org/abs/2309.06497; merging, beta3 and counting
    as in the authors' code.
    """

    blocks: str | None = in_blocks()
    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 1.0), "decay of m; of the statistics, 1 sums them up", ge=0, le=1)
    beta3: float = hyper(-1.0, "weight of m in f, -1 for beta1", ge=-1, lt=1)
    epsilon: float = hyper(1e-12, "added to the eigenvalues", gt=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times lr; or L2", ge=0)
    weight_decay_type: str = hyper("decoupled", "'l2': added to g", choices=("decoupled", "l2"))
    max_preconditioner_dim: int = hyper(1024, "longest side of a block, and of merged axes", ge=1)
    precondition_frequency: int = hyper(1, "steps from one computation of the roots to the next", ge=1)
    start_preconditioning_step: int = hyper(-1, "first step with roots, -1 for precondition_frequency", ge=-1)
    use_bias_correction: bool = hyper(True, "correct f, and H if beta2 < 1")
    graft_type: str = hyper("none", "what gives a step its length", choices=("none", "adagrad", "rmsprop", "adam"))
    graft_eps: float = hyper(1e-8, "added to the root of the graft", gt=0)
    graft_beta2: float = hyper(0.999, "decay of v", ge=0, lt=1)

    exp_avg = state("average of g", when=lambda group: group["betas"][0] > 0)
    exp_avg_sq = state("v", when=lambda group: group["graft_type"] != "none")
    statistics = state("H, for every kind of block and each axis", shape=_squares)
    inverse_roots = state("P", shape=_squares)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse an average that never takes anything in."""
        del given
        if options["betas"][0] >= 1:
            raise InvalidOption(f"{cls.__name__}: betas={options['betas']!r}: the first must be < 1, such as 0.9")
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value | None,
        exp_avg_sq: Value | None,
        statistics: Value,
        inverse_roots: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        beta3: Value,
        epsilon: Value,
        weight_decay: Value,
        weight_decay_type: str,
        max_preconditioner_dim: Value,
        precondition_frequency: Value,
        start_preconditioning_step: Value,
        use_bias_correction: bool,
        graft_type: str,
        graft_eps: Value,
        graft_beta2: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        beta3 = beta1 if beta3 < 0 else beta3
        start = precondition_frequency if start_preconditioning_step < 0 else maximum(1, start_preconditioning_step)
        g = g + weight_decay * p if weight_decay_type == "l2" else g
        H, P, longest = statistics, inverse_roots, max_preconditioner_dim
        H = _averaged(H, g, beta2=beta2, longest=longest)
        if step == start or (step > start and step % precondition_frequency == 0):
            c = 1 - beta2**step if use_bias_correction and beta2 < 1 else 1
            P = _roots(H, g, c=c, epsilon=epsilon, longest=longest)
        f = g
        if exp_avg is not None:
            f = lerp(g, exp_avg, beta3)
            f = f / (1 - beta3 * beta1 ** (step - 1)) if use_bias_correction else f
            exp_avg = lerp(g, exp_avg, beta1)
        a = None
        if exp_avg_sq is not None:
            v = exp_avg_sq = (
                exp_avg_sq + square(g) if graft_type == "adagrad" else lerp(square(g), exp_avg_sq, graft_beta2)
            )
            v = v / (1 - graft_beta2**step) if graft_type == "adam" else v
            a = f / (sqrt(v) + graft_eps)
        x = f if a is None else a
        if step >= start:
            x = _turned(f, a, P, longest=longest)
        x = x + weight_decay * p if weight_decay_type == "decoupled" else x
        return p - lr * x, exp_avg, exp_avg_sq, H, P


@stacked("own")
def _averaged(H: list[Tensor], g: Tensor, *, beta2: float, longest: int) -> list[Tensor]:
    """H with the gradient's Gram matrices."""
    share = 1 if beta2 == 1 else 1 - beta2
    return added(H, cut(_viewed(g, longest), longest), keep=beta2, share=share)


@stacked("own")
def _roots(H: list[Tensor], g: Tensor, *, c: float, epsilon: float, longest: int) -> list[Tensor]:
    """P; g is there for its shape."""
    return inverse_roots([M / c for M in H], 2 * (_viewed(g, longest).ndim - 1), epsilon)


@stacked("element")
def _turned(f: Tensor, a: Tensor | None, P: list[Tensor], *, longest: int) -> Tensor:
    """f with P applied to its blocks, each as long as that of a."""
    F = _viewed(f, longest)
    blocks = turned(cut(F, longest), P)
    if a is not None:
        lengths = cut(_viewed(a, longest), longest)
        blocks = [grafted(b, length) for b, length in zip(blocks, lengths, strict=True)]
    return joined(blocks, F, longest).reshape(f.shape)


def _viewed(x: Tensor, longest: int) -> Tensor:
    """A stack in the shape in which it is cut into blocks."""
    return x.reshape(len(x), *distributed_view(x.shape[1:], longest))
