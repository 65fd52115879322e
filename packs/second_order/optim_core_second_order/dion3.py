"""Dion3."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.rules import Value, lerp, maximum, mean, norm, sqrt, square, stacked, where
from optim_core_second_order.coefficients import CONVERGENT
from optim_core_second_order.hidden_matrices import HiddenMatrices
from optim_core_second_order.orthogonal import adjustment, ns_precision
from optim_core_second_order.selected_slices import POLAR_EXPRESS, Triples, orthogonal_slices


class Dion3(HiddenMatrices):
    """Dion2 with NorMuon's rows: each is divided by the root of its average square.

    For hidden matrices, as :class:`~optim_core_second_order.dion2.Dion2`, but about rows whatever the shape::

        M = M + g
        S = the rows of M with the largest sums of |.|        fraction of all, one at least
        M = momentum M in these rows
        X = S made orthogonal as in Dion2
        V = beta2 V + (1 - beta2) mean(X^2)                   for each of these rows
        Y = X / (sqrt(V) + 1e-8)
        p = p (1 - lr weight_decay);  p = p - lr r Y |X| / |Y| in these rows

    V counts only the steps in which a row was taken, without correction: rows that are new weigh more. Everything else
    is as in Dion2. The authors' code calls it NorDion2, too.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> loss = Dion3([w], lr=0.5, weight_decay=0.0, ns_dtype="float32").minimize(lambda: w.square().sum())
        >>> [[round(x, 1) for x in row] for row in w.tolist()]  # the larger row only
        [[2.5, 0.0], [0.0, 1.0]]

    Source: Dion2: A Simple Method to Shrink Matrix in Muon, 2025, https://arxiv.org/abs/2512.16928, for the method
    without rows; with them as in the authors' code.
    """

    lr: float = hyper(0.01, "step size", ge=0, search=(1e-3, 1e-1))
    fraction: float = hyper(0.25, "share of the rows that a step works on", gt=0, le=1)
    momentum: float = hyper(0.95, "factor of M where it has been used", ge=0, le=1)
    beta2: float = hyper(0.95, "decay of V", ge=0, lt=1)
    weight_decay: float = decoupled(0.01)
    eps: float = hyper(1e-8, "added to the norm", gt=0)
    adjust_lr_fn: str | None = hyper("spectral", "what r is; None for 1", choices=("spectral", "match_rms_adamw"))
    ns_steps: int = hyper(5, "steps of the iteration", ge=1)
    ns_coefficients: Triples = hyper(POLAR_EXPRESS, "a, b and c of a step, or of each", examples=[CONVERGENT])
    ns_norm_scale: float = hyper(1.02, "factor of the norm", gt=0)
    ns_dtype: str = ns_precision()

    momentum_buffer = state("M")
    variance_neuron = state("V", level="row")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        variance_neuron: Value,
        *,
        lr: Value,
        fraction: Value,
        momentum: Value,
        beta2: Value,
        eps: Value,
        adjust_lr_fn: str | None,
        ns_steps: Value,
        ns_coefficients: Triples,
        ns_norm_scale: Value,
        ns_dtype: str,
    ) -> tuple[Value, ...]:
        """The update above."""
        iteration = {"steps": ns_steps, "coefficients": ns_coefficients, "norm_scale": ns_norm_scale, "dtype": ns_dtype}
        M, X = _rows(momentum_buffer + g, fraction=fraction, keep=momentum, eps=eps, **iteration)
        squares = mean(square(X), over="row")  # 0 where a row was not taken
        V = where(squares > 0, lerp(squares, variance_neuron, beta2), variance_neuron)
        Y = X / (sqrt(V) + 1e-8)
        r = adjustment(p, adjust_lr_fn) if adjust_lr_fn else 1
        return p - lr * r * (norm(X) / maximum(norm(Y), 1e-8)) * Y, M, V


@stacked("element", "element")
def _rows(M: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    """M after it has been used, and X."""
    return orthogonal_slices(M, side="rows", **how)
