"""Aurora."""

from __future__ import annotations

from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, stacked
from optim_core_second_order.balanced_polar import iterative
from optim_core_second_order.coefficients import CONVERGENT, MUON
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment, averaged, ns_precision
from optim_core_second_order.selected_slices import Triples, iterated


class Aurora(HiddenMatrices):
    """Muon with rows of equal length: of the longer side of a matrix, none gets a larger share of the step.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g                   with nesterov; otherwise u = M
        p = p (1 - lr weight_decay) - lr sqrt(max(1, rows/columns)) balanced(u)

    For a square matrix balanced(u) is polar(u), the orthogonal factor by Newton-Schulz iteration. For a tall one of m
    rows and n columns, X_i being row i (a wide one is taken for its transpose)::

        D_i = 1 / max(|X_i|, eps)
        U = polar(D X)                                      pp_iterations times, and between them
        D_i = D_i (n/m / max(|U_i|^2, eps^2))^pp_beta

    Meant for the matrices of MLPs. The authors' second variant, "riemannian", is not here. Their code raises on lr = 0
    and on missing gradients. The iteration runs in bfloat16 (``ns_dtype``), as there.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
        >>> options = {"pp_iterations": 8, "weight_decay": 0.0, "ns_dtype": "float32"}
        >>> before = w.detach().clone()
        >>> loss = Aurora([w], lr=1.0, **options).minimize(lambda: w.square().sum())
        >>> step = before - w.detach()  # towards rows of equal length
        >>> bool(step.norm(dim=1).max() / step.norm(dim=1).min() < 1.5)
        True

    Source: Tilde Research, Aurora, 2026, https://blog.tilderesearch.com/blog/aurora; as in the authors' code.
    """

    lr: float = hyper(0.05, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    nesterov: bool = hyper(True, "look one gradient ahead")
    weight_decay: float = decoupled(0.025)
    pp_iterations: int = hyper(2, "orthogonal factors a step", ge=1)
    pp_beta: float = hyper(0.5, "exponent of the corrections of D", gt=0, le=1)
    eps: float = hyper(1e-7, "least length of a row", gt=0)
    ns_steps: int = hyper(12, "steps of the iteration", ge=1)
    ns_coefficients: Triples = hyper(CONVERGENT, "a, b and c of a step, or of each", examples=[(MUON, CONVERGENT)])
    ns_dtype: str = ns_precision()

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
        pp_iterations: Value,
        pp_beta: Value,
        eps: Value,
        ns_steps: Value,
        ns_coefficients: Triples,
        ns_dtype: str,
    ) -> tuple[Value, Value]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        polar = {"steps": ns_steps, "coefficients": ns_coefficients, "dtype": ns_dtype}
        U = _balanced(u, count=pp_iterations, beta=pp_beta, eps=eps, **polar)
        return p - lr * adjustment(p, "original") * U, M


@stacked("element")
def _balanced(
    u: Tensor, *, count: int, beta: float, eps: float, steps: int, coefficients: Triples, dtype: str
) -> Tensor:
    """The orthogonal factor of square matrices, one with equal rows of others; wide ones are transposed."""

    def polar(X: Tensor) -> Tensor:
        return iterated(X, 1e-7, steps=steps, coefficients=coefficients, dtype=dtype)

    def tall(X: Tensor) -> Tensor:
        return iterative(X, polar, int(count), beta, eps)

    X = u.flatten(2)
    rows, columns = X.shape[1:]
    U = polar(X) if rows == columns else tall(X) if rows > columns else tall(X.mT).mT
    return U.reshape(u.shape)
