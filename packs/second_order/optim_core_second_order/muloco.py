"""MuLoCo."""

from __future__ import annotations

from typing import Any, ClassVar

from optim_core import decoupled, hyper, state
from optim_core.methods import around
from optim_core.rules import Value
from optim_core_second_order.coefficients import Coefficients
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, ns_triples, summed

#: What r is called here, and in the family.
_FACTORS = {"sqrt(rows/cols)": "spectral", "0.2*sqrt(max(rows, cols))": "match_rms_adamw"}
#: Options of AdamW, and those that they follow unless they are given.
_FOLLOWS = {"adam_betas": "betas", "adam_eps": "eps", "adam_weight_decay": "weight_decay"}


class MuLoCo(Orthogonalised):
    """Muon as the inner optimizer of DiLoCo with one worker: every k steps, Nesterov momentum on what they did.

    For hidden matrices, s being the slow weights, which begin as the weights before the first step::

        M = momentum M + g
        u = g + momentum M                             with nesterov; otherwise u = M
        X = orthogonal(u / (||u|| + eps))              Muon's iteration, with five different triples
        w = w (1 - lr weight_decay) - lr r X

    r is sqrt(rows/columns), 0.2 sqrt(max(rows, columns)) or, with ``adjust_lr=None``, 1. The rest of a model takes
    steps of AdamW, as in :class:`~optim_core_second_order.Muon`, with the same lr, weight_decay and eps, and ``betas``,
    unless ``adam_lr`` and the like say otherwise. Then for all of them, every k steps::

        delta = s - w
        b = outer_momentum b + delta
        s = w = s - outer_lr (delta + outer_momentum b)

    That is the wrapper ``snoo`` around Muon. In the long run weights go outer_lr / (1 - outer_momentum) times as far as
    Muon's. Evaluate right after an outer step. ``first_sync="at_once"`` has outer steps after steps 1, k + 1 and so on.
    Gradients of several workers are not averaged here: each of DiLoCo's workers has its own weights.

    A convolution counts as a matrix, of output channels by all the rest; the authors' code takes its last two axes.
    In ``ns_dtype="bfloat16"``, as there, steps have errors of a percent. Their class is no torch optimizer.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, 0.5]]))
        >>> optimizer = MuLoCo([w], lr=0.1, k=5)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(30)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Thérien et al., MuLoCo: Muon is a Practical Inner Optimizer for DiLoCo, 2025,
    https://arxiv.org/abs/2505.23725, with one worker.
    """

    around = (around("snoo"),)

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the sum of gradients", ge=0, lt=1)
    nesterov: bool = hyper(False, "look one gradient ahead")
    weight_decay: float = decoupled(0.01)
    betas: tuple[float, float] = hyper((0.9, 0.95), "AdamW's decay of the averages of g and g^2", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the norm, and to AdamW's root", gt=0)
    adjust_lr: str | None = hyper("sqrt(rows/cols)", "what r is", choices=(*_FACTORS, None))
    ns_coefficients: Coefficients = ns_triples("quintic5")

    momentum_buffer = state("decayed sum of gradients")

    adam_share: ClassVar = 1.0

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """AdamW goes by the options of the whole."""
        options = super().resolve(options, given)
        return options | {name: options[whole] for name, whole in _FOLLOWS.items() if name not in given}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, in which AdamW goes by the group's options."""
        own = {name: param_group[whole] for name, whole in _FOLLOWS.items() if whole in param_group}
        super().add_param_group(own | param_group)

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
        adjust_lr: str | None,
        orthogonal: Orthogonal,
    ) -> tuple[Value, Value]:
        """The rule that snoo goes around."""
        M, u = summed(g, momentum_buffer, momentum, nesterov=nesterov)
        X = orthogonal(u, eps)
        return p - lr * (X if adjust_lr is None else adjustment(p, _FACTORS[adjust_lr]) * X), M
