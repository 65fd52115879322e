"""Magma."""

from __future__ import annotations

import torch
from torch import Tensor

from optim_core.methods import hyper, state
from optim_core.optimizers import parameters
from optim_core.rules import Inner, Value, dot, lerp, norm, sigmoid, where
from optim_core.wrapping import RuleWrapper


class Magma(RuleWrapper):
    """Leaves out the steps of whole tensors at random, and damps the others by how far gradient and momentum agree.

    For each tensor, with w' what the base makes of w::

        mu = momentum_beta mu + (1 - momentum_beta) g
        a  = alignment_ema a + (1 - alignment_ema) sigmoid(cos(mu, g) / tau)            a = 1 at first
        w  = w + z a (w' - w)                                        z = 1 with probability mask_prob, else 0

    The base's states go on as if every step were made. All of its step is damped, decoupled weight decay included. a
    settles between 0.38 and 0.62 for tau = 2, so that the mean step is about a quarter of the base's: raise lr. The
    paper takes the base's own first moment as mu, which gives the same cosine where its beta is momentum_beta; here the
    average is the wrapper's, around every base. Draws follow from ``seed`` and the count of steps alone, so that all
    ranks of a parallel training, and a training that goes on from a checkpoint, mask alike. A fused parameter is one
    tensor. The paper leaves embeddings out: keep them in an optimizer of their own.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = Magma(torch.optim.SGD([weight], lr=1.0), mask_prob=1.0)
        >>> _ = optimizer.minimize(lambda: weight.sum())
        >>> round(weight.item(), 4)  # 0.9 + 0.1 sigmoid(1 / 2)
        -0.9622

    Source: On Surprising Effectiveness of Masking Updates in Adaptive Optimizers, 2026,
    https://arxiv.org/abs/2602.15322, Algorithm 1.
    """

    mask_prob: float = hyper(0.5, "probability that a tensor's step is made", ge=0, le=1)
    tau: float = hyper(2.0, "temperature of the sigmoid", gt=0)
    momentum_beta: float = hyper(0.9, "decay of the average of g", ge=0, lt=1)
    alignment_ema: float = hyper(0.9, "decay of the damping", ge=0, lt=1)
    seed: int = hyper(0, "of the draws", ge=0)

    momentum = state("average of g")
    alignment = state("a, the damping", start=1.0, level="tensor")
    mask = state("z of the present step", start=1.0, level="tensor")

    def on_wrap(self) -> None:
        """Count steps from here."""
        self.counters["steps"] = 0
        super().on_wrap()

    def apply(self) -> None:
        """Draw, then step."""
        later = any(wrapper.accumulates for wrapper in self.inside)  # gradients come when this one steps
        present = {p for p in parameters(self) if p.numel() and (later or p.grad is not None)}
        self.start_memory([p for p in parameters(self) if p in present])
        generator = torch.Generator().manual_seed(self.options["seed"] * 1_000_003 + self.counters["steps"])
        for p, draw in zip(parameters(self), self._draws(generator), strict=True):
            if p in present:
                self.memory[p]["mask"].fill_(draw)
        super().apply()
        self.counters["steps"] += 1

    def _draws(self, generator: torch.Generator) -> list[float]:
        drawn: Tensor = torch.rand(len(parameters(self)), generator=generator, dtype=torch.float64)
        return [float(x < self.options["mask_prob"]) for x in drawn]

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        momentum: Value,
        alignment: Value,
        mask: Value,
        *,
        tau: float,
        momentum_beta: float,
        alignment_ema: float,
    ) -> tuple[Value, ...]:
        """The update above."""
        momentum = lerp(g, momentum, momentum_beta)
        sizes = norm(momentum) * norm(g)
        cosine = where(sizes > 0, dot(momentum, g) / where(sizes > 0, sizes, 1.0), 0.0)
        alignment = lerp(sigmoid(cosine / tau), alignment, alignment_ema)
        return p + mask * alignment * inner(p, g).since(p), momentum, alignment, mask
