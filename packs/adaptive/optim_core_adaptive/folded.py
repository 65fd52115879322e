"""What methods of HeavyBall have in common: decays that need no correction, floors under roots, and the last step."""

from __future__ import annotations

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, denominator, lerp, maximum, mean, second_moment, sqrt, square, where


class FoldedMoments(RuleOptimizer):
    """Base of methods with two moments in HeavyBall's manner."""

    lr: float = hyper(2.5e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.99), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "least root that is divided by", gt=0)
    weight_decay: float = hyper(0.0, "decoupled decay, times the step size", ge=0)
    warmup_steps: int = hyper(0, "steps in which the step size grows evenly", ge=0)
    caution: bool = hyper(False, "leave out updates against the gradient, and lengthen the others by as many")
    cautious_weight_decay: bool = hyper(False, "decay only what the update makes smaller")

    exp_avg = state("average of what steps are made of")
    exp_avg_sq = state("average of squares")


def folded(beta: Value, step: Value) -> Value:
    """The decay with which an average that starts at 0 needs no correction: 0 in the first step, later beta."""
    return 1 - (1 - beta) / (1 - beta**step)


def average_of_squares(g: Value, v: Value, b: Value) -> Value:
    """The new average, named as the second moment."""
    return second_moment(lerp(square(g), v, b))


def floored_root(v: Value, eps: Value) -> Value:
    """sqrt(v), at least eps, named as a denominator."""
    return denominator(maximum(sqrt(v), eps), bare=sqrt(v))


def last_step(
    p: Value,
    g: Value,
    u: Value,
    *,
    lr: Value,
    weight_decay: Value,
    warmup_steps: Value,
    caution: bool,
    cautious_weight_decay: bool,
    step: Value,
) -> Value:
    """p after the decay and the update u, as the options have them."""
    lr = warmed(lr, step, warmup_steps)
    if caution:
        u = agreeing(u, g)
    return decayed(p, u, lr * weight_decay, cautious=cautious_weight_decay) - lr * u


def warmed(lr: Value, step: Value, warmup_steps: Value) -> Value:
    """The step size of a step."""
    return lr * step / maximum(step, warmup_steps + 1)


def agreeing(u: Value, g: Value) -> Value:
    """u without what goes against the gradient, and the rest longer by as much."""
    kept = _same_sign(u, g)
    share = mean(kept)
    return where(kept, u, 0.0) * where(share > 0, 1 / share, 0.0)


def decayed(p: Value, u: Value, decay: Value, *, cautious: bool) -> Value:
    """p after its decay, of which the cautious one leaves out what u makes larger."""
    return p * (1 - (where(_same_sign(p, u), decay, 0.0) if cautious else decay))


def _same_sign(x: Value, y: Value) -> Value:
    return ((x >= 0) & (y >= 0)) | ((x < 0) & (y < 0))
