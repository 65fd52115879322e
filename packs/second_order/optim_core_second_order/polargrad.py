"""PolarGrad."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, bfloat16, dot, lerp, norm, stacked
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.newton_schulz import Triple, orthogonalised
from optim_core_second_order.qdwh import polar_factor

#: The paper's, each for what the one before has left; from the eighth step on the last one.
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_LIMIT = (1.875, -1.25, 0.375)
#: Head room against rounding.
_SAFETY = 1.01


class PolarGrad(HiddenMatrices):
    """Momentum made orthogonal, with the size of the gradient kept: steps shrink as it does.

    For hidden matrices, which a weight of more dimensions is, too, of dimension 0 by all others; AdamW has the rest, as
    for :class:`~optim_core_second_order.muon.Muon`. With polar(x) the orthogonal factor of x, or near it, and <x, U>
    the sum of products, which is then the nuclear norm::

        m = momentum m + (1 - momentum) g                   polar_first=False
        u = <m, U> U                                        U = polar(m)

        m = momentum m + (1 - momentum) U                   polar_first=True, U = polar(g)
        u = <g, U> m

        p = p (1 - lr weight_decay) - lr u

    ``polar_method`` is how polar(x) is found, in ``inner_steps``: "qdwh" (Nakatsukasa and Higham's iteration by QR and
    Cholesky factors), "ns" (Muon's, with ``ns_coefficients``) or "polar_express". Two steps of QDWH do not bring small
    singular values near 1; six do, and then lift what is only rounding in a gradient without full rank. lr depends on
    the size of gradients: 1e-3 to 1e-1.

    The option is ``method`` in the authors' code, where QDWH begins from the machine epsilon of the parameters' type,
    so that two steps lead elsewhere in float32 than in float64; here it runs in float64 for all. "zolo-pd" and
    "precond_ns" are not here. The iterations by products run in bfloat16 (``ns_dtype``), as there.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.diag(torch.tensor([3.0, 1.0])))
        >>> loss = PolarGrad([w], lr=0.1, momentum=0.0, inner_steps=6).minimize(lambda: 0.5 * w.square().sum())
        >>> [round(x, 3) for x in w.diagonal().tolist()]
        [2.6, 0.6]

    Source: Lau et al., PolarGrad: A Class of Matrix-Gradient Optimizers from a Unifying Preconditioning Perspective,
    2025, https://arxiv.org/abs/2505.21799; coefficients as in the authors' code.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    weight_decay: float = decoupled(0.0)
    momentum: float = hyper(0.95, "decay of the average", ge=0, lt=1)
    polar_first: bool = hyper(False, "average orthogonal factors instead of gradients")
    polar_method: str = hyper("qdwh", "how factors are found", choices=("qdwh", "ns", "polar_express"))
    inner_steps: int = hyper(2, "steps to a factor", ge=1)
    ns_coefficients: tuple[float, float, float] = hyper((3.4445, -4.7750, 2.031), "a, b and c of a step of 'ns'")
    ns_dtype: str = hyper(
        "bfloat16", "precision of 'ns' and 'polar_express'", choices=("bfloat16", "float32", "float64")
    )

    momentum_buffer = state("the average")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        polar_first: bool,
        polar_method: str,
        inner_steps: Value,
        ns_coefficients: tuple[Value, Value, Value],
        ns_dtype: str,
    ) -> tuple[Value, Value]:
        """The update above."""
        how: dict[str, Any] = {"steps": inner_steps, "coefficients": ns_coefficients, "dtype": ns_dtype}
        if polar_first:
            U = _polar(g, polar_method, **how)
            m = lerp(U, momentum_buffer, momentum)
            return p - lr * dot(g, U) * m, m
        m = lerp(g, momentum_buffer, momentum)
        U = _polar(m, polar_method, **how)
        return p - lr * dot(m, U) * U, m


def _polar(x: Value, method: str, *, steps: Value, coefficients: tuple[Value, Value, Value], dtype: str) -> Value:
    """The orthogonal factor."""
    if method == "qdwh":
        U: Value = _by_qdwh(x, steps=steps)
        return U
    X = x / (norm(x) * (_SAFETY if method == "polar_express" else 1) + 1e-7)
    X = bfloat16(X) if dtype == "bfloat16" else X
    chosen = None if method == "polar_express" else coefficients
    polar: Value = _by_products(X, steps=steps, coefficients=chosen, dtype=dtype)
    return polar


@stacked("element")
def _by_qdwh(x: Tensor, *, steps: int) -> Tensor:
    return polar_factor(x.flatten(2).double(), int(steps)).to(x.dtype).reshape(x.shape)


@stacked("element")
def _by_products(X: Tensor, *, steps: int, coefficients: Triple | None, dtype: str) -> Tensor:
    triples = _express(int(steps)) if coefficients is None else [coefficients] * int(steps)
    return orthogonalised(X.flatten(2).to(getattr(torch, dtype)), triples).reshape(X.shape)


def _express(steps: int) -> list[Triple]:
    safe = [(a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _POLAR_EXPRESS]
    return [safe[i] if i < len(safe) else _LIMIT for i in range(steps)]
