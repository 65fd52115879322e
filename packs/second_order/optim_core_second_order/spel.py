"""SPEL."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.rules import Value
from optim_core_second_order.coefficients import Coefficients
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, averaged, ns_triples


class SPEL(Orthogonalised):
    """Muon among orthogonal matrices: after every step the parameter itself is made orthogonal again.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. ortho is Newton-Schulz iteration with Muon's options::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g                   with nesterov; otherwise u = M
        p = ortho(p (1 - lr weight_decay) - lr ortho(u))

    Whatever p was, the first step makes it orthogonal, however small lr: begin with orthogonal matrices. Only lr = 0
    moves nothing, as everywhere here; in the code named in the spec it does what other steps do. lr is the size of a
    rotation, and decay gives the gradient more weight against p. The default coefficients leave singular values
    between 0.7 and 1.2, which change from step to step; ``ns_coefficients="polar_express", ns_steps=8`` comes near 1.
    Sets that do not converge, such as "cans", let two machines part.

    p itself goes through the iteration, so ``ns_dtype`` is float32 here: steps of the default lr are lost in bfloat16.
    The paper makes the part of g orthogonal that keeps p so; the code that there is, and this, the momentum as it is.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.eye(2))
        >>> optimizer = SPEL([w], lr=0.1, ns_coefficients="polar_express", ns_steps=8)
        >>> target = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> for _ in range(60):
        ...     loss = optimizer.minimize(lambda: (w - target).square().sum())
        >>> bool(loss < 0.1), torch.allclose(w @ w.T, torch.eye(2), atol=1e-2)
        (True, True)

    Source: Manifold constrained steepest descent, 2026, https://arxiv.org/abs/2601.21487; as in the code named in the
    spec, which is not the authors'.
    """

    lr: float = hyper(3e-4, "step size", ge=0, search=(1e-3, 3e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    weight_decay: float = decoupled(0.1)
    nesterov: bool = hyper(False, "look one gradient ahead")
    eps: float = hyper(1e-7, "least norm", gt=0)
    ns_coefficients: Coefficients = ns_triples("quintic5")
    ns_dtype: str = hyper("float32", "precision of the iteration", choices=("bfloat16", "float32", "float64"))

    momentum_buffer = state("average of g")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        eps: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, Value]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        return orthogonal(p - lr * orthogonal(u, eps, clamp=True), eps, clamp=True) if lr else p, M
