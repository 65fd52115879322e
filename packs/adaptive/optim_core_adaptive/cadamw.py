"""CAdamW."""

from __future__ import annotations

from optim_core.methods import around
from optim_core_adaptive.adamw import AdamW


class CAdamW(AdamW):
    """AdamW that leaves out the elements of a step that go against the present gradient, and enlarges the others.

    Composed of :class:`AdamW` and the wrapper ``cautious``: with u = m / c1 / (sqrt(v / c2) + eps)::

        mask = 1 where u g > 0, else 0
        p = p (1 - lr weight_decay) - lr u mask / max(mean(mask), mask_floor)        (the mean over the tensor)

    timm has it by this name, and as ``caution=True`` of adamw. Options and states are those of AdamW; further ones
    are those of ``cautious``, which goes around any other method as well.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = CAdamW([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.899, -1.898]

    Source: Liang et al., Cautious Optimizers: Improving Training with One Line of Code, 2024,
    https://arxiv.org/abs/2411.16085, Algorithm 1.
    """

    around = (around("cautious", eps_mode="base"),)
