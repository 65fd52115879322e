"""ScionLight."""

from __future__ import annotations

from typing import Any

from optim_core import state
from optim_core.rules import Value
from optim_core_second_order.scion import Scion


class ScionLight(Scion):
    """Scion on a decayed sum of gradients in the place of their average.

    The update is that of :class:`~optim_core_second_order.scion.Scion` but for its first line::

        G = (1 - momentum) G + g                momentum = 1: G = g
        u = scale lmo(G)
        p = p (1 - lr) - lr u                   unconstrained: p = p - lr u

    G is Scion's average over ``momentum``, the weight of the new gradient there, and lmo does not ask for the length:
    the two differ by what keeps its divisions from 0. Norms, options and :meth:`init` are Scion's.

    The authors' code has no buffer: it keeps G in the gradients themselves, which must not be zeroed then, and
    clipping, scaling and logging see the sum. Here G is a state, so that gradients are zeroed as usual; with
    ``momentum=1`` there is none, where the authors' gradients add up if nobody zeroes them.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
        >>> loss = ScionLight([w], lr=0.5, momentum=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [1.076, -1.434]

    Source: Pethick et al., Training Deep Learning Models with Norm-Constrained LMOs, 2025,
    https://arxiv.org/abs/2502.07529; the sum as in the authors' code.
    """

    momentum_buffer = state("decayed sum of g", when=lambda group: group["momentum"] != 1)

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
        G = g if momentum_buffer is None else (1 - momentum) * momentum_buffer + g
        ball: dict[str, Any] = {"norm": norm, "scale": scale, "unconstrained": unconstrained}
        how: dict[str, Any] = {"normalized": normalized, "transpose": transpose, "max_scale": max_scale}
        moved, _ = Scion.rule(p, G, None, lr=lr, momentum=momentum, ns_steps=ns_steps, ns_dtype=ns_dtype, **ball, **how)
        return moved, None if momentum_buffer is None else G
