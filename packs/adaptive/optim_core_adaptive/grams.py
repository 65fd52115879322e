"""Grams."""

from __future__ import annotations

from optim_core import decoupled, hyper
from optim_core.methods import around
from optim_core_adaptive.adamw import AdamW


class Grams(AdamW):
    """AdamW whose steps go in the direction of the present gradient, each as far as the averages say.

    Composed of :class:`AdamW` and three wrappers: ``gradient_signs``, ``eps_placement`` (``"uncorrected"``) and
    ``bias_correction``. With m and v as in AdamW, c1 = 1 - beta1^t and c2 = 1 - beta2^t::

        p = p (1 - lr weight_decay) - lr sqrt(c2) / c1 sign(g) |m| / (sqrt(v) + eps)

    eps is added before the bias correction, as in the authors' code, and weighs up to 32 times as much in the first
    steps; the paper, and most ports, add it afterwards. An element without a gradient stands still.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Grams([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Cao, Li and Song, Grams: Gradient Descent with Adaptive Momentum Scaling, 2024,
    https://arxiv.org/abs/2412.17107, Algorithm 1; eps as in the authors' code.
    """

    around = (around("gradient_signs"), around("eps_placement", place="uncorrected"), around("bias_correction"))

    eps: float = hyper(1e-6, "added to the uncorrected root", ge=0)
    weight_decay: float = decoupled(0.0)
