"""AdaNorm."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, gain, lerp, maximum, norm, root, second_moment, sigmoid, sqrt, square, where
from optim_core_adaptive.rectification import rectification, warn_if_never_rectified


class AdaNorm(RuleOptimizer):
    """Adam, or one of its relatives, whose average takes gradients that are no shorter than usual for their tensor.

    With c1 = 1 - beta1^t, c2 = 1 - beta2^t, | | the norm of a tensor, and R the factor of :class:`RAdam`::

        e = r e + (1 - r) |g|
        h = g max(1, e/|g|)
        m = beta1 m + (1 - beta1) h
        v = beta2 v + (1 - beta2) g^2 + eps          adabelief: (h - m)^2 for g^2;  diffgrad, radam: no eps here
        adam, adabelief:   p = p - lr/c1 m / (sqrt(v / c2) + eps)
            with rectify:  the same times R where R's rho > 4;  before that p = p - lr m
        diffgrad:          p = p - lr sqrt(c2)/c1 sigmoid(|h' - g|) m / (sqrt(v) + eps),  h' the g of the step before
        radam:             p = p - lr R sqrt(c2)/c1 m / (sqrt(v) + eps) where R's rho >= 5;  before that p = p - lr m/c1

    e starts at 0, uncorrected, so it acts only once it has caught up, or when gradients shrink. It is one number a
    tensor: how a model is cut into tensors matters. eps stays in v (in the maximum instead, with amsgrad) and adds up,
    to eps/(1 - beta2) in v, so that tiny gradients move p much less than in Adam. The paper does not have this, the
    authors' code does; ports that leave it out differ by up to lr in the first step.

    The authors' RadamNorm forgets e in every step, so it is RAdam; here it works as they describe it. Their code
    divides 0 by 0 where a gradient is all 0. radam decays decoupled, as theirs does, the others by L2 unless told
    otherwise.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = AdaNorm([w], lr=0.1).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Dubey, Singh and Chaudhuri, AdaNorm: Adaptive Gradient Norm Correction based Optimizer for CNNs, 2022,
    https://arxiv.org/abs/2210.06364; eps and rectification as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages m and v", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to v, where it stays, and to its root", ge=0)
    weight_decay: float = l2(0.0)
    decoupled_weight_decay: bool = hyper(False, "shrink p by 1 - lr*weight_decay instead of adding to g")
    fixed_decay: bool = hyper(False, "decoupled decay by weight_decay alone, without lr; adam and adabelief only")
    amsgrad: bool = hyper(False, "divide by the largest v so far; adam and adabelief only")
    rectify: bool = hyper(False, "rectify v while it rests on few gradients; adam and adabelief only")
    r: float = hyper(0.95, "decay of the average norm", ge=0, lt=1)
    variant: str = hyper("adam", "the method it is built on", choices=("adam", "adabelief", "diffgrad", "radam"))

    exp_avg = state("average of corrected gradients")
    exp_avg_var = state("average of g squared, or of (h - m)^2")
    exp_grad_norm = state("average norm of g", level="tensor")
    max_exp_avg_var = state("largest exp_avg_var so far", when="amsgrad")
    previous_grad = state("g of the step before", when=lambda group: group["variant"] == "diffgrad")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Refuse what a variant does not have; radam decays decoupled."""
        variant = options["variant"]
        if "betas" in given and (variant == "radam" or options["rectify"]):
            least = 5 if variant == "radam" else 4
            warn_if_never_rectified(cls.__name__, options["betas"], "every step is a momentum step", least=least)
        if variant in ("diffgrad", "radam"):
            for name in ("amsgrad", "rectify", "fixed_decay"):
                if options[name]:
                    raise InvalidOption(f"{cls.__name__}: {name}=True is not for {variant}: use adam or adabelief")
        if variant == "radam":
            if "decoupled_weight_decay" in given and not options["decoupled_weight_decay"]:
                raise InvalidOption(f"{cls.__name__}: radam decays decoupled: leave out decoupled_weight_decay=False")
            return options | {"decoupled_weight_decay": True}
        if options["fixed_decay"] and not options["decoupled_weight_decay"]:
            raise InvalidOption(
                f"{cls.__name__}: fixed_decay=True means nothing for L2: add decoupled_weight_decay=True"
            )
        return options

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_var: Value,
        exp_grad_norm: Value,
        max_exp_avg_var: Value,
        previous_grad: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        amsgrad: bool,
        rectify: bool,
        r: Value,
        variant: str,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        c1, c2 = 1 - beta1**step, 1 - beta2**step
        g_norm = norm(g)
        exp_grad_norm = lerp(g_norm, exp_grad_norm, r)
        h = g * where(g_norm > 0, maximum(1.0, exp_grad_norm / g_norm), 1.0)
        exp_avg = lerp(h, exp_avg, beta1)
        exp_avg_var = lerp(square(h - exp_avg if variant == "adabelief" else g), exp_avg_var, beta2)
        if variant == "diffgrad":
            v, x = second_moment(exp_avg_var, c2), gain(sigmoid(abs(previous_grad - g)), 0.5)
            u = sqrt(c2) / c1 * x * exp_avg / root(v, eps, c2, outside=True)
        elif variant == "radam":
            factor = rectification(beta2, step)
            if factor is None:
                u = exp_avg / c1
            else:
                v = second_moment(exp_avg_var, c2)
                u = factor * sqrt(c2) / c1 * exp_avg / root(v, eps, c2, outside=True)
        else:
            if amsgrad:
                v = max_exp_avg_var = maximum(max_exp_avg_var, exp_avg_var) + eps
            else:
                v = exp_avg_var = exp_avg_var + eps
            factor = rectification(beta2, step, least=4) if rectify else None
            if rectify and factor is None:
                u = exp_avg
            else:
                u = exp_avg / c1 / root(second_moment(v, c2), eps, c2)
                u = u if factor is None else factor * u
        return p - lr * u, exp_avg, exp_avg_var, exp_grad_norm, max_exp_avg_var, g
