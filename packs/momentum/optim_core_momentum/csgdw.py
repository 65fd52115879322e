"""CSGDW."""

from __future__ import annotations

from optim_core.methods import around
from optim_core_momentum.sgdw import SGDW


class CSGDW(SGDW):
    """SGDW that leaves out the elements of a step that go against the present gradient, and enlarges the others.

    Composed of :class:`SGDW` and the wrapper ``cautious``: with u = b, the momentum::

        mask = 1 where u g > 0, else 0
        p = p (1 - lr weight_decay) - lr u mask / max(mean(mask), mask_floor)        (the mean over the tensor)

    timm has it by this name, and as ``caution=True`` of sgdw. Options and states are those of SGDW; further ones
    are those of ``cautious``, which goes around any other method as well.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = CSGDW([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.8, -1.6]

    Source: Liang et al., Cautious Optimizers: Improving Training with One Line of Code, 2024,
    https://arxiv.org/abs/2411.16085, Algorithm 1.
    """

    around = (around("cautious", eps_mode="base"),)
    sparse = False  # the mask's mean is one of the whole tensor
