"""TAM."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, dot, lerp, norm, where


class TAM(RuleOptimizer):
    """Torque-aware momentum: gradients count in the momentum as far as they have its direction.

    Tensor by tensor, m and s starting at 0::

        c = <m, g> / (|m| |g|)           0 where either is 0
        s = decay_rate s + (1 - decay_rate) c
        m = momentum m + (eps + (1 + s)/2) g
        p = p - lr m

    A steady gradient counts fully, which is SGD's heavy ball; one that turns against m hardly; random ones half: take
    twice the lr of SGD with momentum. No bias correction, so the first step is half of SGD's. eps keeps the factor
    positive and divides nothing. The cosine is one number a tensor here; the paper leaves it open whether it is that of
    the whole model. pytorch-optimizer normalises along dimension 0 and multiplies without the sum, which is no cosine.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = TAM([w], lr=0.5).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.5, -1.0]

    Source: Malviya, Mordido, Baratin, Harikandeh, Dziugaite, Pascanu and Chandar, Torque-Aware Momentum, 2024,
    https://arxiv.org/abs/2412.18790. No code of the authors is known.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1.0))
    momentum: float = hyper(0.9, "decay of m", ge=0, lt=1)
    decay_rate: float = hyper(0.9, "decay of s, the average cosine", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the share of g that counts", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")

    momentum_buffer = state("m, decayed sum of what counts")
    s = state("average of the cosine", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        s: Value,
        *,
        lr: Value,
        momentum: Value,
        decay_rate: Value,
        eps: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        lengths = norm(momentum_buffer) * norm(g)
        s = lerp(where(lengths > 0, dot(momentum_buffer, g) / lengths, 0.0), s, decay_rate)
        momentum_buffer = momentum * momentum_buffer + (eps + (1 + s) / 2) * g
        return p - lr * momentum_buffer, momentum_buffer, s
