"""SGD with the stochastic Polyak step size."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.optimizers import LossValue
from optim_core.rules import Value, maximum, minimum, square, total, where


class PolyakSGD(LossValue):
    """SGD whose step size is the loss over the squared norm of its gradient, within a bound.

    With f the loss and |g| the norm of all gradients of all groups::

        gap = f - f_min                            max(gap, 0) with variant="sps+"
        s = min(gap / (c |g|^2 + eps), lr)         adapt="constant"
        s = min(gap / (c |g|^2 + eps), gamma^(1/n_batches_per_epoch) s'),   adapt="smooth_iter"
        p = p - s g                                and lr s g there: lr = 1, the default, is a factor for schedulers

    s' is the last positive s, init_step_size at first: the bound grows from step to step (in the authors' code it stays
    0 once the gradient has been 0). c = 1 is for convex losses, 1/2 for strongly convex ones, and what the authors run.
    **With variant="sps" a loss below f_min is ascended.** ALI-G is the same without c and f_min, with momentum.

    optax multiplies the gradient by its scaling before it takes the norm, so that half of it doubles the step.

    The loss is handed over as :class:`~optim_core.optimizers.LossValue` tells.

    Raises:
        LossMissing: in a step without the loss, before anything is changed.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = PolyakSGD([w]).minimize(lambda: w.square().sum())  # f = 5, |g|^2 = 20
        >>> w.tolist()
        [0.5, -1.0]

    Source: Loizou, Vaswani, Laradji and Lacoste-Julien, Stochastic Polyak Step-size for SGD: An Adaptive Learning Rate
    for Fast Convergence, 2020, equations 3 and 4, https://arxiv.org/abs/2002.10542; smooth_iter from the authors' code.
    """

    lr: float = hyper(1.0, "largest step size; a factor with smooth_iter", ge=0, search=(1e-2, 10.0))
    f_min: float = hyper(0.0, "lower bound of the loss", common=True)
    eps: float = hyper(0.0, "added to the squared norm", ge=0, common=True)
    variant: str = hyper("sps", "what a loss below f_min does", choices=("sps", "sps+"), common=True)
    c: float = hyper(1.0, "divides the step size", gt=0, common=True)
    adapt: str = hyper("constant", "what bounds the step size", choices=("constant", "smooth_iter"), common=True)
    gamma: float = hyper(2.0, "growth of the bound in an epoch", ge=1, common=True)
    n_batches_per_epoch: int = hyper(500, "steps in an epoch, for gamma", ge=1, common=True)
    init_step_size: float = hyper(1.0, "first bound, before it grows", gt=0, common=True)

    step_size = state("s, the last positive one", level="whole", start="init_step_size")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        loss: Value,
        step_size: Value,
        *,
        lr: Value,
        f_min: Value,
        eps: Value,
        variant: str,
        c: Value,
        adapt: str,
        gamma: Value,
        n_batches_per_epoch: Value,
        maximize: bool,
        largest_lr: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if not largest_lr:
            return p, loss, step_size
        gap = (-loss if maximize else loss) - f_min
        if variant == "sps+":
            gap = maximum(gap, 0.0)
        squared = total(square(g))
        s = where(squared > 0, gap / (c * squared + eps), 0.0)
        if adapt == "constant":
            return p - minimum(s, lr) * g, loss, step_size
        s = minimum(s, gamma ** (1 / n_batches_per_epoch) * step_size)
        return p - lr * s * g, loss, where(s > 0, s, step_size)
