"""The family of Muon: momentum, made orthogonal, scaled. Each method is its own rule between these steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core import hyper
from optim_core.methods import argument
from optim_core.rules import Value, bfloat16, lerp, maximum, norm, size, sqrt, stacked
from optim_core_second_order.coefficients import CONVERGENT, MUON, Coefficients, triples_of, with_set
from optim_core_second_order.hidden_matrices import HiddenMatrices, Word
from optim_core_second_order.newton_schulz import balanced, orthogonalised

#: What a rule gets as ``orthogonal``.
Orthogonal = Callable[..., Value]

_NS_OPTIONS = (
    "ns_steps",
    "ns_coefficients",
    "ns_end",
    "ns_norm",
    "ns_norm_scale",
    "ns_method",
    "ns_restarts",
    "ns_dtype",
)


def _orthogonal(u: Value, eps: Value | float = 1e-7, *, clamp: bool = False, **options: Any) -> Value:
    """u with singular values near 1.

    Args:
        u: a matrix.
        eps: added to its norm.
        clamp: whether eps is the norm's least value instead.
        options: those of the family.
    """
    how = {name.removeprefix("ns_"): x for name, x in options.items() if name != "ns_norm_scale"}
    if options["ns_norm"] == "aol":
        how["eps"] = eps
    else:
        length = norm(u) * options["ns_norm_scale"]
        u = u / (maximum(length, eps) if clamp else length + eps)
    X: Value = _iterated(bfloat16(u) if options["ns_dtype"] == "bfloat16" else u, **how)
    return X


def ns_triples(default: Coefficients) -> Any:
    """Declare ``ns_coefficients``."""
    doc = "a, b and c of a step, or of each; or the name of a set"
    return argument(default=hyper(default, doc, examples=[(MUON, CONVERGENT), "cans"]), kw_only=True)


def ns_precision() -> Any:
    """Declare ``ns_dtype``."""
    choices = ("bfloat16", "float32", "float64")
    return argument(default=hyper("bfloat16", "precision of the iteration", choices=choices), kw_only=True)


class Orthogonalised(HiddenMatrices):
    """Base of methods that make a matrix orthogonal by Newton-Schulz iteration; rules take the word ``orthogonal``.

    The options of the iteration are common to the family: ``ns_coefficients`` is one triple (a, b, c) for all steps,
    a tuple of triples for one each, or the name of a set in :mod:`~optim_core_second_order.coefficients`, which brings
    the number of steps and the norm that it is made for unless these are given. ``ns_norm="aol"`` balances the rows of
    the shorter side in the place of dividing by the Frobenius norm, and is meant for ``"turbo"``.
    ``ns_method="gram"`` takes all steps between ``ns_restarts`` on the Gram matrix of an oblong matrix; "standard",
    which is the same up to rounding, chooses by itself where that is worth it.
    """

    ns_steps: int = argument(default=hyper(5, "steps of the iteration", ge=1), kw_only=True)
    ns_coefficients: Coefficients = ns_triples(MUON)
    ns_end: str = argument(
        default=hyper("cycle", "what follows the last triple", choices=("cycle", "repeat_last")), kw_only=True
    )
    ns_norm: str = argument(
        default=hyper("frobenius", "what bounds the singular values first", choices=("frobenius", "aol")), kw_only=True
    )
    ns_norm_scale: float = argument(default=hyper(1.0, "factor of the Frobenius norm", gt=0), kw_only=True)
    ns_method: str = argument(
        default=hyper("standard", "where the iteration is computed", choices=("standard", "gram")), kw_only=True
    )
    ns_restarts: tuple[int, ...] = argument(
        default=hyper((2,), "steps, from 0, before which 'gram' forms the Gram matrix anew", ge=0), kw_only=True
    )
    ns_dtype: str = ns_precision()

    words: ClassVar = {"orthogonal": Word(_NS_OPTIONS, lambda **options: partial(_orthogonal, **options))}

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """A named set of coefficients brings what it is made for."""
        return with_set(options, given, cls.__name__)


@stacked("element")
def _iterated(
    X: Tensor,
    *,
    steps: int,
    coefficients: Coefficients,
    end: str,
    norm: str,
    method: str,
    restarts: tuple[float, ...],
    dtype: str,
    eps: float = 0.0,
) -> Tensor:
    """The iteration on matrices of all but the first dimension."""
    matrices = X.flatten(2).to(getattr(torch, dtype))
    if norm == "aol":
        matrices = balanced(matrices, eps)
    triples = triples_of(coefficients, int(steps), end)
    starts = tuple(map(int, restarts)) if method == "gram" else None
    return orthogonalised(matrices, triples, starts).reshape(X.shape)


# what rules share ------------------------------------------------------------------------------------------------
def averaged(g: Value, M: Value, momentum: Value, *, nesterov: bool) -> tuple[Value, Value]:
    """The average of g, and the direction u: that, or one gradient ahead of it."""
    M = lerp(g, M, momentum)
    return M, lerp(g, M, momentum) if nesterov else M


def summed(g: Value, M: Value, momentum: Value, *, nesterov: bool) -> tuple[Value, Value]:
    """The decayed sum of g, and the direction u: that, or one gradient ahead of it."""
    M = momentum * M + g
    return M, g + momentum * M if nesterov else M


def sides(p: Value) -> tuple[Value, Value]:
    """Rows and columns of a matrix; of a convolution the output channels and all the rest."""
    columns = size(p, over="row")
    return size(p) / columns, columns


def adjustment(p: Value, how: str) -> Value:
    """The factor of an orthogonal step that makes up for the shape of the matrix.

    ``"original"``: sqrt(max(1, rows/columns)); ``"spectral"``: sqrt(rows/columns); ``"match_rms_adamw"``:
    0.2 sqrt(max(rows, columns)).
    """
    rows, columns = sides(p)
    if how == "match_rms_adamw":
        return 0.2 * sqrt(maximum(rows, columns))
    return sqrt(rows / columns if how == "spectral" else maximum(rows / columns, 1))
