"""Scion."""

from __future__ import annotations

from typing import Any

import torch

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, lerp
from optim_core_second_order.norm_balls import NORMS, check_shape, corner, on_ball


class Scion(RuleOptimizer):
    """Moves each layer towards the point of a norm's ball where the average gradient falls most.

    ``momentum`` is the weight of the new gradient, one minus what others call by that name; lmo(d) is that point for a
    ball of radius 1, n0 the number of rows, n1 that of columns::

        M = (1 - momentum) M + momentum g       momentum = 1: M = g
        u = scale lmo(M)
        p = p (1 - lr) - lr u                   unconstrained: p = p - lr u

        norm            lmo(d)                                                    normalized
        Spectral        sqrt(n0) ortho(d)                                         sqrt(n0/n1) ortho(d), the default
        SpectralConv    sqrt(n0/n1) ortho(d) / positions of the kernel
        ColNorm         sqrt(n0) c / |c| for each column                          divided by n1
        RowNorm         r / |r| for each row                                      divided by sqrt(n1), the default
        Sign            sign(d)                                                   divided by n1, the default
        BiasRMS         d / RMS(d)

    ortho is Muon's iteration of ``ns_steps``. "Auto" takes Spectral for matrices, SpectralConv for what has more
    dimensions, BiasRMS for the rest. ``transpose`` lets ColNorm and RowNorm take the matrix for its transpose, and
    ``max_scale`` raises the factor of Spectral to at least 1.

    The factor 1 - lr is no weight decay by a coefficient of its own: parameters end within the ball of radius
    ``scale``, wherever they began, so scale decides how large they can get. :meth:`init` has them begin on the ball.
    The authors give hidden layers Spectral with scale 50 and the last layer Sign with scale 3000, each in a group::

        Scion([{"params": hidden, "norm": "Spectral", "scale": 50.0}, {"params": head, "norm": "Sign", "scale": 3e3}])

    In the authors' code the arguments of a norm stand in a dict, ``norm_kwargs``, ``ns_steps`` as steps and
    ``max_scale`` as max, and kernels are taken for square ones. The iteration
    runs in bfloat16 (``ns_dtype``), as there.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = Scion([w], lr=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [1.076, -1.434]

    Source: Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, 2025, Algorithms 1 and 2,
    https://arxiv.org/abs/2502.07529; factors of the norms as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size, and share by which p shrinks", ge=0, le=1, search=(1e-3, 1e-1))
    momentum: float = hyper(1.0, "weight of the new g in its average; 1 for no average", gt=0, le=1)
    norm: str = hyper("Auto", "the norm of the ball", choices=NORMS)
    scale: float = hyper(1.0, "radius of the ball", ge=0)
    unconstrained: bool = hyper(False, "do not shrink p")
    normalized: bool | None = hyper(None, "divide by the input dimension; None is the norm's default")
    transpose: bool = hyper(False, "ColNorm and RowNorm of the transposed matrix, for embeddings")
    max_scale: bool = hyper(False, "raise the factor of Spectral to at least 1")
    ns_steps: int = hyper(5, "steps of the iteration", ge=1)
    ns_dtype: str = hyper("bfloat16", "precision of the iteration", choices=("bfloat16", "float32", "float64"))

    momentum_buffer = state("average of g", when=lambda group: group["momentum"] != 1)

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse a norm of matrices for what is none."""
        for p in group["params"]:
            check_shape(self.method.name, group["norm"], p, normalized=group["normalized"])

    @torch.no_grad()
    def init(self, generator: torch.Generator | None = None) -> None:
        """Have all parameters begin on the balls of their norms: orthogonal, of random signs, or of equal columns.

        Vectors begin at 0. What parameters were before is lost.

        Args:
            generator: where the random numbers come from; None is torch's global stream.
        """
        for group in self.param_groups:
            options = {name: group[name] for name in ("norm", "normalized", "transpose", "max_scale")}
            for p in group["params"]:
                p.copy_(group["scale"] * on_ball(p, **options, generator=generator))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value | None,
        *,
        lr: Value,
        momentum: Value,
        norm: str,
        scale: Value,
        unconstrained: bool,
        normalized: bool | None,
        transpose: bool,
        max_scale: bool,
        ns_steps: Value,
        ns_dtype: str,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        M = g if momentum_buffer is None else lerp(momentum_buffer, g, momentum)
        how: dict[str, Any] = {"normalized": normalized, "transpose": transpose, "max_scale": max_scale}
        u = scale * corner(M, norm=norm, ns_steps=ns_steps, ns_dtype=ns_dtype, **how)
        p = p if unconstrained else p * (1 - lr)
        return p - lr * u, None if momentum_buffer is None else M
