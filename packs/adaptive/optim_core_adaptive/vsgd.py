"""VSGD."""

from __future__ import annotations

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, denominator, lerp, sqrt, square


class VSGD(RuleOptimizer):
    """SGD on an estimate of the true gradient, of which the one observed is a noisy reading: variational inference.

    Element by element, with A = 2 ps + 1 + 1e-4, B = 2 ps, H = 2 ghattg ps; n is the mu of the step before::

        s = b / A;    h = e / A            at first s = B / (A - 1), h = H / (A - 1)
        mu = (g s + n h) / (s + h);        S = s h / (s + h)
        b = (1 - t^-tau1) b + t^-tau1 (B + S + (mu - n)^2)
        e = (1 - t^-tau2) e + t^-tau2 (H + S + (g - mu)^2)
        p = p (1 - lr weight_decay) - lr mu / (sqrt(S + mu^2) + eps)

    No element moves by more than lr in a step, and in the first ones by much less, so lr is ten times Adam's and more,
    and the decay as much smaller. The squares are written out in the authors' code, which in low precision may leave
    b and e below 0.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = VSGD([w], lr=0.1)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(21)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Chen, Kuzina, Esmaeili and Tomczak, Variational Stochastic Gradient Descent for Deep Neural Networks, 2024,
    Algorithm 1, https://arxiv.org/abs/2404.06549.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-3, 1.0))
    ghattg: float = hyper(30.0, "prior of the noise of g, over that of the true gradient", gt=0)
    ps: float = hyper(1e-8, "strength of the prior", gt=0)
    tau1: float = hyper(0.81, "how fast b forgets: in (0.5, 1]", gt=0, le=1)
    tau2: float = hyper(0.9, "how fast e forgets: in (0.5, 1]", gt=0, le=1)
    weight_decay: float = decoupled(0.0)
    eps: float = hyper(1e-8, "added to the root", ge=0)

    mug = state("mu, estimate of the true gradient")
    bg = state("b, its spread")
    bhg = state("e, the spread of g about it")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        mug: Value,
        bg: Value,
        bhg: Value,
        *,
        lr: Value,
        ghattg: Value,
        ps: Value,
        tau1: Value,
        tau2: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        A, B, H = 2 * ps + (1 + 1e-4), 2 * ps, 2 * ghattg * ps
        below = 2 * ps + 1e-4  # A - 1, whose digits would be lost
        s, h = (B / below, H / below) if step <= 1 else (bg / A, bhg / A)
        mu = (g * s + mug * h) / (s + h)
        S = s * h / (s + h)
        bg = lerp(B + S + square(mu - mug), bg, 1 - step**-tau1)
        bhg = lerp(H + S + square(g - mu), bhg, 1 - step**-tau2)
        bare = sqrt(S + square(mu))
        return p - lr * mu / denominator(bare + eps, bare=bare), mu, bg, bhg
