"""SGDW: SGD with decoupled weight decay."""

from __future__ import annotations

from optim_core import decoupled, hyper
from optim_core_momentum.sgd import SGD


class SGDW(SGD):
    """SGD with momentum that shrinks the parameter itself instead of adding the decay to the gradient.

    p = p (1 - lr weight_decay), with fixed_decay p (1 - weight_decay), then SGD's step. The paper decays by the
    schedule's factor alone, without the base lr: its lambda is weight_decay = lambda / lr here, or fixed_decay and the
    factor applied by hand. torch_optimizer 0.3.0 subtracts lr weight_decay from every element, which is not a decay.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SGDW([w], lr=0.25, weight_decay=0.5).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.375, -0.75]

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2017, Algorithm 1,
    https://arxiv.org/abs/1711.05101; dampening and nesterov as in torch.optim.SGD.
    """

    weight_decay: float = decoupled(0.0)
    fixed_decay: bool = hyper(False, "decay by weight_decay alone, without lr")
