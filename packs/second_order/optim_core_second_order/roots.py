"""Eigenvectors and inverse roots of symmetric matrices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor


def inverse_roots(matrices: Sequence[Tensor], root: float, ridge: float, *, relative: bool = False) -> list[Tensor]:
    """(H + ridge I)^(-1/root) of positive semi-definite matrices, those of one size in one call.

    Args:
        matrices: stacks of matrices (..., d, d), or of the diagonals of diagonal ones (B, d).
        root: which root.
        ridge: what is added to the eigenvalues.
        relative: whether the ridge is a share of the largest eigenvalue.

    Eigenvalues below the rounding of the largest count as that rounding: in float32 the statistics of a gradient of
    rank one come out exact to four digits, where the ridge alone (1e-12) leaves mostly noise.
    """
    together: dict[tuple[int, ...], list[int]] = defaultdict(list)
    flat = [H if H.ndim == 2 else H.flatten(0, -3) for H in matrices]
    for i, H in enumerate(flat):
        together[tuple(H.shape[1:])].append(i)
    found: dict[int, Tensor] = {}
    for members in together.values():
        H = flat[members[0]] if len(members) == 1 else torch.cat([flat[i] for i in members])
        roots = _inverse_root(H, root, ridge, relative=relative)
        found |= zip(members, torch.split(roots, [len(flat[i]) for i in members]), strict=True)
    return [found[i].reshape(H.shape) for i, H in enumerate(matrices)]


def eigh(H: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a stack of symmetric matrices.

    Where LAPACK gives up in float32 it gets float64; what is not finite gives NaN, as in any other method, instead of
    an error in the middle of a step.
    """
    try:
        values, vectors = torch.linalg.eigh(H)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # exported, but not to type checkers
        if not bool(H.isfinite().all()):
            return torch.full_like(H[..., 0], torch.nan), torch.full_like(H, torch.nan)
        values, vectors = torch.linalg.eigh(H.double())
    return values.to(H.dtype), vectors.to(H.dtype)


def _inverse_root(H: Tensor, root: float, ridge: float, *, relative: bool) -> Tensor:
    if H.ndim == 2:
        return _ridged(H, ridge, relative=relative).pow(-1 / root)
    values, vectors = eigh(H)
    # A sum of G G^T has no negative eigenvalue, and none below the rounding of its largest is known: a small ridge
    # alone would raise what is rounding by orders of magnitude.
    rounding = torch.finfo(values.dtype).eps * values.amax(1, keepdim=True)
    known = torch.maximum(_ridged(values.clamp(min=0), ridge, relative=relative), rounding)
    half = vectors * known.pow(-0.5 / root).unsqueeze(1)  # the result is symmetric to the bit
    return half @ half.mT


def _ridged(values: Tensor, ridge: float, *, relative: bool) -> Tensor:
    return values + (ridge * values.amax(1, keepdim=True) if relative else ridge)
