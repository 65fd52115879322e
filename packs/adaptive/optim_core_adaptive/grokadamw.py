"""GrokAdamW."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, exp, gain, lerp, maximum, minimum, norm, root, second_moment, sqrt, square, where


class GrokAdamW(RuleOptimizer):
    """AdamW on gradients whose slow part is amplified, so that a model that has memorised generalises sooner.

    For the i-th parameter of its group, counted from 0, with | | the norm of a tensor and s the grokking signal::

        g = g min(1, gradient_clipping / (|g| + 1e-6))
        a = alpha_init exp(-grokking_signal_decay_rate s)
        e = a e + (1 - a) g;    h = g + lamb e
        B = beta1 (1 - gamma)^i
        m = B m + (1 - B) h;    v = beta2 v + (1 - beta2) h^2
        p = p (1 - lr weight_decay) - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    m is corrected with beta1, not with B, so the first steps of later parameters are up to 1 / (1 - beta1) times as
    long, and in one group of many the last have no momentum. This is the package's code; gamma=0 leaves it out.

    s is max(0, eval_loss - train_loss) / max(eval_loss, train_loss), from the two entries of the group that you set
    when you know them: ``group["train_loss"] = 0.5``. Or set ``group["grokking_signal"]``. Otherwise it is 0. The
    package takes functions for it; it leaves parameters that lack a gradient out of the count i.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = GrokAdamW([w], lr=0.1, weight_decay=0.0)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.9, -1.9]

    Source: Hartford, GrokAdamW, 2024, https://github.com/QuixiAI/grokadamw; the slow part is that of Lee et al.,
    Grokfast: Accelerated Grokking by Amplifying Slow Gradients, 2024, https://arxiv.org/abs/2405.20233.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of h and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(1e-2)
    alpha_init: float = hyper(0.98, "decay of the slow gradient, without a signal", ge=0, le=1)
    lamb: float = hyper(2.0, "weight of the slow gradient", ge=0)
    gamma: float = hyper(0.1, "how much less momentum each parameter has than the one before", ge=0, lt=1)
    grokking_signal_decay_rate: float = hyper(0.1, "how fast a falls with the signal", ge=0)
    gradient_clipping: float = hyper(1.0, "largest norm of the gradient of a tensor, 0 for any", ge=0)
    train_loss: float | None = hyper(None, "loss in training, for the signal; set it in the group")
    eval_loss: float | None = hyper(None, "loss in evaluation, for the signal; set it in the group")
    grokking_signal: float | None = hyper(None, "the signal itself, None for that of the losses")

    by_position = True

    exp_avg = state("average of h")
    exp_avg_sq = state("average of h squared")
    grok_ema = state("slow gradient")
    position = state("number of the parameter in its group", level="tensor")

    def on_group(self, group: dict[str, Any]) -> None:
        """Number the parameters."""
        super().on_group(group)
        for i, p in enumerate(group["params"]):
            self.set_state(p, position=i)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        exp_avg_sq: Value,
        grok_ema: Value,
        position: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        alpha_init: Value,
        lamb: Value,
        gamma: Value,
        grokking_signal_decay_rate: Value,
        gradient_clipping: Value,
        train_loss: Value | None,
        eval_loss: Value | None,
        grokking_signal: Value | None,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        if gradient_clipping:
            g = g * minimum(1.0, gradient_clipping / (norm(g) + 1e-6))
        s = grokking_signal
        if s is None and train_loss is not None and eval_loss is not None:
            larger = maximum(train_loss, eval_loss)
            s = where(larger > 0, maximum(0.0, eval_loss - train_loss) / larger, 0.0)
        a = alpha_init if s is None else alpha_init * exp(-grokking_signal_decay_rate * s)
        grok_ema = lerp(g, grok_ema, a)
        h = gain(g + lamb * grok_ema, 1 + lamb)
        exp_avg = lerp(h, exp_avg, beta1 * (1 - gamma) ** position)
        exp_avg_sq = lerp(square(h), exp_avg_sq, beta2)
        c2 = 1 - beta2**step
        d = root(second_moment(exp_avg_sq, c2), eps, c2, outside=True)
        p = p - lr * sqrt(c2) / (1 - beta1**step) * exp_avg / d
        return p, exp_avg, exp_avg_sq, grok_ema, position
