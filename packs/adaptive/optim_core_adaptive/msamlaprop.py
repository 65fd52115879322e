"""MSAMLaProp."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from optim_core import hyper, state
from optim_core.methods import real
from optim_core.optimizers import Modes
from optim_core.rules import Value, lerp, maximum, norm
from optim_core_adaptive.folded import (
    FoldedMoments,
    agreeing,
    average_of_squares,
    decayed,
    floored_root,
    folded,
    warmed,
)


class MSAMLaProp(FoldedMoments, Modes):
    """LaProp whose gradients are taken ahead of the weights, a fixed length along the last step.

    b1 and b2 are betas folded with their bias correction, b = 1 - (1 - beta) / (1 - beta^t); | | is the norm of a
    tensor, and z are the weights, which begin as p::

        v = b2 v + (1 - b2) g^2
        m = b1 m + (1 - b1) g / max(sqrt(v), eps)
        z = z (1 - lr weight_decay) - lr m
        p = z - sam_step_size m / max(|m|, 1e-8)

    Flat minima are looked for as by SAM, without its second gradient. sam_step_size is a length per tensor: p of a
    tensor of one element is always that far off. With lr = 0 both points stand still. lr grows to what is given over
    ``warmup_steps``. ``caution`` takes from m, in the last two lines, what goes against g, and lengthens the rest by
    numel/kept; with ``cautious_weight_decay`` only that decays whose update makes it smaller. HeavyBall keeps states in
    float32.

    Train at p, validate and save at z: call ``optimizer.eval()`` before, and ``optimizer.train()`` after; ``minimize``
    goes back to training by itself, ``step()`` raises until then. It starts in train mode. p and z change places then,
    so that nothing more is kept; where p is of low precision, z comes back rounded to it.

    Raises:
        NotTraining: by step(), in eval mode.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = MSAMLaProp([w], lr=0.1, sam_step_size=0.01)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(50)]
        >>> optimizer.eval()  # now w holds z
        >>> w.square().sum().item() < 0.1 * losses[0], optimizer.training
        (True, False)

    Source: Becker, Altrock and Risse, Momentum-SAM: Sharpness Aware Minimization without Computational Overhead, 2024,
    https://arxiv.org/abs/2401.12033; with LaProp in the place of SGD, HeavyBall's.
    """

    eps: float = hyper(1e-6, "least root that is divided by", gt=0)
    sam_step_size: float = hyper(0.1, "length from the weights to where gradients are taken, per tensor", ge=0)

    z = state("the weights; in eval mode the point ahead of them", start="p")

    def turn(self, group: dict[str, Any], *, training: bool) -> None:  # noqa: ARG002 - the same there and back
        """Exchange p and z."""
        for p in group["params"]:
            z = self.state[p].get("z") if p in self.state else None
            if isinstance(z, Tensor):
                here = real(p.detach())
                kept = here.to(z.dtype, copy=True)
                here.copy_(z)
                z.copy_(kept)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        z: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        weight_decay: Value,
        warmup_steps: Value,
        caution: bool,
        cautious_weight_decay: bool,
        sam_step_size: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        exp_avg_sq = average_of_squares(g, exp_avg_sq, folded(beta2, step))
        exp_avg = lerp(g / floored_root(exp_avg_sq, eps), exp_avg, folded(beta1, step))
        u = agreeing(exp_avg, g) if caution else exp_avg
        if lr:
            lr = warmed(lr, step, warmup_steps)
            z = decayed(z, u, lr * weight_decay, cautious=cautious_weight_decay) - lr * u
            p = z - u * (sam_step_size / maximum(norm(u), 1e-8))
        return p, exp_avg, exp_avg_sq, z
