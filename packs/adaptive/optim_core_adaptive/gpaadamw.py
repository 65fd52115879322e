"""GPAAdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core import hyper, state
from optim_core.optimizers import ScheduleFree
from optim_core.rules import Value, lerp, maximum, root, square, where


class GPAAdamW(ScheduleFree):
    """AdamW with primal averaging: it steps at z, is evaluated at an average x, and takes gradients in between.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t, mu_y = train_interp and mu_x = eval_interp, and g taken at y::

        m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2;   u = (m / c1) / (sqrt(v / c2) + eps)
        z = z (1 - lr weight_decay)                     decay_at="y": y in its place
        "gpa":            c = 1 - mu_x
        "schedule_free":  w = t^weight_pow (largest lr so far)^weight_lr_power;   c = w / (sum of all w so far)
        y = (1 - c) y + c z + lr (mu_y (1 - c) - 1) u;   z = z - lr u
        x = (y - (1 - mu_y) z) / mu_y

    Without decay that is x = (1 - c) x + c z, y = mu_y x + (1 - mu_y) z. As in the authors' code y does not see a decay
    of z before it is averaged in, so that x grows by a part of it: decay_at="y" has no such error. mu_x is to DiLoCo
    as 1 - 1 / (9 k) to k local steps: 0.9967 for 32. Use AdamW's lr and schedule; a later decay of lr does not change
    the average in "gpa".

    Train at y, validate and save at x: call ``optimizer.eval()`` before, and ``optimizer.train()`` after; ``minimize``
    goes back to training by itself, ``step()`` raises until then. It starts in train mode; the authors' class starts in
    eval mode, and raises for lr = 0 in its first step. Each parameter has its own count; theirs is the group's.

    Raises:
        NotTraining: by step(), in eval mode.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = GPAAdamW([w], lr=0.1, eval_interp=0.9)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> optimizer.eval()  # now w holds x
        >>> w.square().sum().item() < 0.1 * losses[0], optimizer.training
        (True, False)

    Source: Defazio et al., Smoothing DiLoCo with Primal Averaging for Faster Training of LLMs, 2025,
    https://arxiv.org/abs/2512.17131; in the form of the authors' code.
    """

    lr: float = hyper(1.0, "step size; AdamW's, about 1e-3", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decay of z or y, times lr", ge=0)
    decay_at: str = hyper("z", "the point that decays", choices=("z", "y"))
    averaging: str = hyper("gpa", "how x is averaged", choices=("gpa", "schedule_free"))
    train_interp: float = hyper(0.7, "mu_y, share of x in y", gt=0, le=1)
    eval_interp: float = hyper(0.9967, "mu_x, share of the old x in the new one ('gpa')", ge=0, le=1)
    weight_pow: float = hyper(0.0, "exponent of the step count in the weights of x ('schedule_free')", ge=0)
    weight_lr_power: float = hyper(2.0, "exponent of the largest lr in the weights of x ('schedule_free')", ge=0)

    exp_avg = state("average of g")
    exp_avg_sq = state("average of g squared")

    @classmethod
    def interpolation(cls, group: Mapping[str, Any]) -> float:
        """mu_y."""
        return float(group["train_interp"])

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        z: Value,
        weight_sum: Value,
        lr_max: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        decay_at: str,
        averaging: str,
        train_interp: Value,
        eval_interp: Value,
        weight_pow: Value,
        weight_lr_power: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above; p is y."""
        beta1, beta2 = betas
        exp_avg = lerp(g, exp_avg, beta1)
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        u = exp_avg / (1 - beta1**step) / root(exp_avg_sq, eps, 1 - beta2**step)
        if weight_decay:
            kept = 1 - lr * weight_decay
            p, z = (p, z * kept) if decay_at == "z" else (p * kept, z)
        c = 1 - eval_interp
        if averaging == "schedule_free":
            lr_max = maximum(lr_max, lr)
            weight = step**weight_pow * lr_max**weight_lr_power
            weight_sum = weight_sum + weight
            c = where(weight_sum > 0, weight / weight_sum, 0.0)
        y = lerp(p, z, c) + lr * (train_interp * (1 - c) - 1) * u
        return y, exp_avg, exp_avg_sq, z - lr * u, weight_sum, lr_max
