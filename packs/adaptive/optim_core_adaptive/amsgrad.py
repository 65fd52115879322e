"""AMSGrad: Adam with amsgrad switched on."""

from __future__ import annotations

from optim_core import hyper
from optim_core_adaptive.adam import Adam


class AMSGrad(Adam):
    """Adam whose denominator never shrinks: it takes the largest average square so far.

    The same as ``Adam(..., amsgrad=True)``, formulas there. The maximum is kept beside the average, which goes on
    unchanged; with beta2 = 0.999 it hardly acts in the first hundreds of steps.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AMSGrad([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, 2018, Algorithm 2,
    https://arxiv.org/abs/1904.09237; bias correction as in torch.
    """

    amsgrad: bool = hyper(True, "divide by the largest average square so far")
