"""FTRL."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, sign, sqrt, square, where


class FTRL(RuleOptimizer):
    """Follow the regularised leader, proximal: AdaGrad whose L1 term makes weights exactly zero. For linear models.

    Element by element, with k = -lr_power, and lr' the lr of the step before::

        n' = n + g^2
        z = z + g - (n'^k / lr - n^k / lr') p
        p = 0    where |z| <= lambda_1
        p = -(z - sign(z) lambda_1) / ((beta + sqrt(n')) / lr + lambda_2)    elsewhere

    p is made anew from z and n: what others do to it counts only if it is done before the next step. The method
    assumes a start at 0, and with beta or lambda_2 above 0 its first step takes other weights nearly there. A weight
    that has had no gradient yet (n = 0) stays where it is, which the paper would set to 0. The paper has a constant lr;
    with lr' a schedule leaves what has been learned in place. lr = 0 stands still. TensorFlow's Ftrl has n'^k in the
    place of sqrt(n'), too: the same for lr_power = -0.5.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = FTRL([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: McMahan et al., Ad Click Prediction: a View from the Trenches, 2013, Algorithm 1,
    https://research.google/pubs/ad-click-prediction-a-view-from-the-trenches/.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1.0))
    lr_power: float = hyper(-0.5, "exponent of the sum of squares, in the change of z", le=0)
    beta: float = hyper(0.0, "added to the root; 1 in the paper", ge=0)
    lambda_1: float = hyper(0.0, "L1 regularisation: how sparse", ge=0)
    lambda_2: float = hyper(0.0, "L2 regularisation", ge=0)

    z = state("sum of gradients, less what holds p where it was")
    n = state("sum of g squared")
    last_lr = state("lr of the step before", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        z: Value,
        n: Value,
        last_lr: Value,
        *,
        lr: Value,
        lr_power: Value,
        beta: Value,
        lambda_1: Value,
        lambda_2: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not lr:
            return p, z, n, last_lr
        new_n = n + square(g)
        sigma = new_n ** (-lr_power) / lr - where(n > 0, n ** (-lr_power) / last_lr, 0.0)
        z = z + where(new_n > 0, g - sigma * p, 0.0)
        way = -(z - sign(z) * lambda_1) / ((beta + sqrt(new_n)) / lr + lambda_2)
        new_p = where(abs(z) > lambda_1, way, 0.0)
        return where(new_n > 0, new_p, p), z, new_n, lr
