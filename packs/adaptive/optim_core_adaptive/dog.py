"""DoG."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.rules import Value, maximum, norm, sqrt, square, total, where


class DoG(RuleOptimizer):
    """SGD whose step size is the distance gone so far, over the root of the sum of squared gradients: nothing to tune.

    || || are norms over all parameters, x0 is where they started::

        r = max(r, ||p - x0||)          at first reps_rel (1 + ||x0||)
        G = G + ||g||^2                 at first eps + ||g||^2
        p = p - lr r / sqrt(G) g        with init_eta the first step is init_eta g, and r starts at 0

    Leave lr at 1, without a schedule, and evaluate an average of the weights (``get_wrapper("ema")``). If it diverges
    early divide reps_rel by 100; if it does not get going within a few hundred steps, or with batch normalisation,
    multiply it by 100. r never falls: one excursion makes all later steps long. Decay is L2 and counts in norms.

    The distance is one for the model as a whole, as in optax; the authors' class has one for each group, and LDoG one
    for each tensor. Groups with lr = 0 stand still and count for nothing.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = DoG([w], reps_rel=1e-2)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Ivgi, Hinder and Carmon, DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule, 2023,
    https://arxiv.org/abs/2302.12022; init_eta as in the authors' code.
    """

    lr: float = hyper(1.0, "factor on the step size found", ge=0, search=(0.25, 4.0))
    reps_rel: float = hyper(1e-6, "first distance, relative to 1 + ||x0||", gt=0, common=True)
    init_eta: float | None = hyper(None, "first step size, in the place of reps_rel", gt=0, common=True)
    eps: float = hyper(1e-8, "added once to the sum of squares", gt=0, common=True)
    weight_decay: float = l2(0.0)

    x0 = state("p at the start", start="p")
    rbar = state("largest distance so far", level="whole")
    G = state("sum of squared norms of g", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        x0: Value,
        rbar: Value,
        G: Value,
        *,
        lr: Value,
        reps_rel: Value,
        init_eta: Value | None,
        eps: Value,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not largest_lr:
            return p, x0, rbar, G
        eta, rbar, G = dog_step_size(
            sqrt(total(square(x0) if lr else 0 * p)),
            sqrt(total(square(p - x0) if lr else 0 * p)),
            total(square(g) if lr else 0 * g),
            rbar,
            G,
            reps_rel=reps_rel,
            init_eta=init_eta,
            eps=eps,
        )
        return p - lr * eta * g, x0, rbar, G


class LDoG(RuleOptimizer):
    """DoG with a distance and a step size of its own for each tensor: often better for fine-tuning transformers.

    || || is the norm of a tensor, x0 where it started::

        r = max(r, ||p - x0||)          at first reps_rel (1 + ||x0||)
        G = G + ||g||^2                 at first eps + ||g||^2
        p = p - lr r / sqrt(G) g        with init_eta the first step is init_eta g, and r starts at 0

    Leave lr at 1, without a schedule, and evaluate an average of the weights (``get_wrapper("ema")``). A smaller
    reps_rel, such as 1e-8, suits large weights. Weight and bias of a layer are tensors of their own.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = LDoG([w], reps_rel=1e-2)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Ivgi, Hinder and Carmon, DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule, 2023,
    https://arxiv.org/abs/2302.12022; init_eta as in the authors' code.
    """

    lr: float = hyper(1.0, "factor on the step size found", ge=0, search=(0.25, 4.0))
    reps_rel: float = hyper(1e-6, "first distance, relative to 1 + ||x0||", gt=0)
    init_eta: float | None = hyper(None, "first step size, in the place of reps_rel", gt=0)
    eps: float = hyper(1e-8, "added once to the sum of squares", gt=0)
    weight_decay: float = l2(0.0)

    x0 = state("p at the start", start="p")
    rbar = state("largest distance so far", level="tensor")
    G = state("sum of squared norms of g", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        x0: Value,
        rbar: Value,
        G: Value,
        *,
        lr: Value,
        reps_rel: Value,
        init_eta: Value | None,
        eps: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not lr:
            return p, x0, rbar, G
        eta, rbar, G = dog_step_size(
            norm(x0), norm(p - x0), square(norm(g)), rbar, G, reps_rel=reps_rel, init_eta=init_eta, eps=eps
        )
        return p - lr * eta * g, x0, rbar, G


def dog_step_size(
    start: Value,
    moved: Value,
    g_squared: Value,
    rbar: Value,
    G: Value,
    *,
    reps_rel: Value,
    init_eta: Value | None,
    eps: Value,
) -> tuple[Value, Value, Value]:
    """r / sqrt(G), and the new r and G; the first step, which G = 0 tells, begins them.

    Args:
        start: ||x0||.
        moved: ||p - x0||.
        g_squared: ||g||^2.
        rbar: r.
        G: G.
        reps_rel, init_eta, eps: the options.
    """
    first = G == 0
    rbar = maximum(rbar, moved) if init_eta is not None else maximum(rbar, where(first, reps_rel * (1 + start), moved))
    G = G + g_squared + where(first, eps, 0.0)
    eta = rbar / sqrt(G)
    return (eta if init_eta is None else where(first, init_eta, eta)), rbar, G
