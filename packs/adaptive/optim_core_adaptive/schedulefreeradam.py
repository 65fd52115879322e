"""ScheduleFreeRAdam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optim_core import hyper, state
from optim_core.optimizers import ScheduleFree
from optim_core.rules import Value, lerp, root, square
from optim_core_adaptive.rectification import rectification


class ScheduleFreeRAdam(ScheduleFree):
    """RAdam without a schedule, and without a warm-up: the rectification is one.

    With b = betas[0], g taken at y, and r_t the rectification of RAdam::

        v = beta2 v + (1 - beta2) g^2
        rho > 4:   u = g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y;   a = lr r_t
        before:    u = g + weight_decay y;                                     a = 0, or lr without silent_sgd_phase
        w = t^r (largest a so far)^weight_lr_power;   c = w / (sum of all w so far)
        z = z - a u
        x = (1 - c) x + c z
        y = b x + (1 - b) z

    Nothing moves in the first four steps. Without silent_sgd_phase these are steps of SGD with the full lr, whose
    weights in x stay large for long. Train at y, validate and save at x: call ``optimizer.eval()`` before, and
    ``optimizer.train()`` after; ``minimize`` goes back to training by itself, ``step()`` raises until then. It starts
    in train mode; the authors' package starts in eval mode. Each parameter has its own count and weights.

    Raises:
        NotTraining: by step(), in eval mode.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = ScheduleFreeRAdam([w], lr=0.3, betas=(0.9, 0.95))
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(100)]
        >>> optimizer.eval()  # now w holds x
        >>> w.square().sum().item() < 0.1 * losses[0], optimizer.training
        (True, False)

    Source: Defazio et al., The Road Less Scheduled, 2024, https://arxiv.org/abs/2405.15682; Liu et al., On the Variance
    of the Adaptive Learning Rate and Beyond, 2019; in the form of the authors' package, version 1.4.
    """

    lr: float = hyper(2.5e-3, "step size", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "share of x in y, decay of the average of g squared", gt=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = hyper(0.0, "decay, added to the direction at y", ge=0)
    r: float = hyper(0.0, "exponent of the step count in the weights of x", ge=0)
    weight_lr_power: float = hyper(2.0, "exponent of the largest step size in the weights of x", ge=0)
    silent_sgd_phase: bool = hyper(True, "stand still while there is no rectification; False: steps of SGD")

    exp_avg_sq = state("average of g squared")

    @classmethod
    def interpolation(cls, group: Mapping[str, Any]) -> float:
        """betas[0]."""
        return float(group["betas"][0])

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq: Value,
        z: Value,
        weight_sum: Value,
        lr_max: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        r: Value,
        weight_lr_power: Value,
        silent_sgd_phase: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above; p is y."""
        b, beta2 = betas
        exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
        rectified = rectification(beta2, step, least=4)
        u = g if rectified is None else g / root(exp_avg_sq, eps, 1 - beta2**step)
        if weight_decay:
            u = u + weight_decay * p
        if rectified is None:
            rectified = 0.0 * lr if silent_sgd_phase else 1.0 + 0.0 * lr
        y, z, weight_sum, lr_max = ScheduleFree.average(
            p,
            z,
            u,
            weight_sum,
            lr_max,
            b=b,
            lr=lr * rectified,
            warmup_steps=0 * step,
            r=r,
            weight_lr_power=weight_lr_power,
            step=step,
        )
        return y, exp_avg_sq, z, weight_sum, lr_max
