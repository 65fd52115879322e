"""Balls of norms: where a linear function is least on them (without its sign), and random points on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from optim_core.errors import InvalidOption
from optim_core.rules import Value, bfloat16, mean, norm, sign, size, sqrt, square, stacked
from optim_core_second_order.coefficients import MUON
from optim_core_second_order.newton_schulz import orthogonalised

NORMS = ("Auto", "SpectralConv", "Spectral", "ColNorm", "RowNorm", "BiasRMS", "Sign")

_EPS = 1e-8
#: Whether a norm counts the input dimension in, if nothing else is said.
_NORMALIZED = {"Spectral": True, "RowNorm": True, "Sign": True}


def check_shape(owner: str, norm: str, p: Tensor, *, normalized: bool | None) -> None:
    """Refuse a norm that a parameter has too few dimensions for.

    Raises:
        InvalidOption: naming the norm.
    """
    least = {"SpectralConv": 3, "Auto": 0, "BiasRMS": 0, "Sign": 0 if normalized is False else 2}.get(norm, 2)
    if p.ndim < least:
        raise InvalidOption(
            f"{owner}: norm={norm!r} takes {least} dimensions and more, and a parameter has the shape "
            f"{tuple(p.shape)}: put it into a group with norm='Auto' or 'BiasRMS'"
        )


def corner(
    d: Value,
    *,
    norm: str,
    normalized: bool | None,
    transpose: bool,
    max_scale: bool,
    ns_steps: Value,
    ns_dtype: str,
) -> Value:
    """The point of the ball of radius 1 where <d, .> is largest; near it for spectral norms."""
    kind = _kind(norm, d.ndim)
    counts = _NORMALIZED.get(kind, False) if normalized is None else normalized
    if kind in ("Spectral", "SpectralConv"):
        return _spectral(d, conv=kind == "SpectralConv", counts=counts, floor=max_scale, steps=ns_steps, dtype=ns_dtype)
    if kind == "BiasRMS":
        return d / (sqrt(mean(square(d))) + _EPS) if d.ndim < 2 else _by_column(d, counts=False, rms=True)
    if kind == "Sign":
        return sign(d) / size(d, over="row") if counts else sign(d)
    if (kind == "RowNorm") == transpose:
        columns: Value = _by_column(d, counts=counts, rms=kind == "ColNorm")
        return columns
    rows: Value = _lengths(d, counts=counts, rms=kind == "ColNorm")
    return d / (rows + _EPS)


def _kind(norm: str, ndim: int) -> str:
    if norm != "Auto":
        return norm
    return "BiasRMS" if ndim < 2 else "Spectral" if ndim == 2 else "SpectralConv"


def _spectral(d: Value, *, conv: bool, counts: bool, floor: bool, steps: Value, dtype: str) -> Value:
    X = d / (norm(d) + 1e-7)
    X = bfloat16(X) if dtype == "bfloat16" else X
    U: Value = _orthogonal(X, conv=conv, counts=counts, floor=floor, steps=steps, dtype=dtype)
    return U


def _lengths(d: Value, *, counts: bool, rms: bool) -> Value:
    """What each row is divided by."""
    r, within = norm(d, over="row"), size(d, over="row")
    if rms:
        return r / sqrt(within) * (size(d) / within) if counts else r / sqrt(within)
    return r * sqrt(within) if counts else r


@stacked("element")
def _by_column(d: Tensor, *, counts: bool, rms: bool) -> Tensor:
    """Columns divided by what rows are divided by in the transposed matrices."""
    X = d.flatten(2)
    within, slices = X.shape[1:]
    r: Tensor = torch.linalg.vector_norm(X, dim=1, keepdim=True)
    factor = (slices if counts else 1) / math.sqrt(within) if rms else math.sqrt(within) if counts else 1
    return (X / (factor * r + _EPS)).reshape(d.shape)


@stacked("element")
def _orthogonal(X: Tensor, *, conv: bool, counts: bool, floor: bool, steps: int, dtype: str) -> Tensor:
    """Muon's iteration, times the radius of the ball."""
    matrices = orthogonalised(X.flatten(2).to(getattr(torch, dtype)), [MUON] * int(steps))
    return (_radius(X.shape[1:], conv=conv, counts=counts, floor=floor) * matrices).reshape(X.shape)


def _radius(shape: Sequence[int], *, conv: bool, counts: bool, floor: bool) -> float:
    """The largest singular value of a matrix on the ball."""
    if conv:
        return math.sqrt(shape[0] / shape[1]) / math.prod(shape[2:])
    radius = math.sqrt(shape[0] / math.prod(shape[1:])) if counts else math.sqrt(shape[0])
    return max(1, radius) if floor else radius


def on_ball(
    p: Tensor,
    *,
    norm: str,
    normalized: bool | None,
    transpose: bool,
    max_scale: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """A random point on the ball of radius 1 in the shape of p; 0 for BiasRMS."""
    kind = _kind(norm, p.ndim)
    counts = _NORMALIZED.get(kind, False) if normalized is None else normalized
    x = torch.zeros(p.shape, dtype=torch.float64, device=p.device)
    if kind == "BiasRMS" or not p.numel():
        return x
    x.normal_(generator=generator)
    if kind == "Sign":
        return x.sign() / (math.prod(p.shape[1:]) if counts else 1)
    if kind == "Spectral":
        q = torch.nn.init.orthogonal_(x.flatten(1), generator=generator)
        return (_radius(p.shape, conv=False, counts=counts, floor=max_scale) * q).reshape(p.shape)
    if kind == "SpectralConv":
        kernels = x.flatten(2)  # one matrix for each position
        for k in range(kernels.shape[2]):
            kernels[:, :, k] = torch.nn.init.orthogonal_(kernels[:, :, k].clone(), generator=generator)
        return (_radius(p.shape, conv=True, counts=True, floor=False) * kernels).reshape(p.shape)
    X: Tensor = x.flatten(1).mT if transpose else x.flatten(1)
    rows, columns = X.shape
    if kind == "ColNorm":
        X = X / torch.linalg.vector_norm(X, dim=0, keepdim=True) * math.sqrt(rows) / (columns if counts else 1)
    else:
        X = X / torch.linalg.vector_norm(X, dim=1, keepdim=True) / (math.sqrt(columns) if counts else 1)
    return (X.mT if transpose else X).reshape(p.shape)
