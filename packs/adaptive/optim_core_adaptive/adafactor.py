"""AdaFactor."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, lerp, maximum, minimum, sqrt, square
from optim_core_adaptive.factored import averaged, inverse_root, rms


class AdaFactor(RuleOptimizer):
    """Adam without momentum whose second moment is kept as row and column means: sublinear memory.

    With RMS(x) the root mean square of a whole tensor and b = 1 - t^decay_rate, for two dimensions and more (all but
    the last two count as a batch; for fewer, v = b v + (1 - b)(g^2 + eps1) and u = g / sqrt(v))::

        R = b R + (1 - b) mean(g^2 + eps1, last dimension)
        C = b C + (1 - b) mean(g^2 + eps1, last but one dimension)
        u = g / sqrt(R C / mean(R))
        u = u / max(1, RMS(u) / clip_threshold)
        a = lr min(0.01, 1 / sqrt(t))  with relative_step (warmup_init: 1e-6 t for 0.01),  otherwise lr
        a = a max(eps2, RMS(p))        with scale_parameter
        p = p (1 - a weight_decay) - a u                  (beta1: minus the average of a u, not corrected)

    Without lr the step is relative; given lr, it is lr. Under a relative step the group's lr is 1 and multiplies it, so
    that schedulers work and lr = 0 stands still. The first moment goes on moving p while it decays.

    Which dimensions are factored differs between libraries: tensor2tensor factors two-dimensional tensors only.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -4.0], [4.0, 3.0]]))
        >>> optimizer = AdaFactor([w])
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> optimizer.param_groups[0]["lr"], [round(x, 3) for x in w.flatten().tolist()]
        (1.0, [2.97, -3.96, 3.96, 2.97])

    Source: Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018, Algorithms 4 to 6,
    https://arxiv.org/abs/1804.04235; first moment and decay as in fairseq, whose step does not compound here.
    """

    lr: float | None = hyper(None, "step size; None for one from the step count", ge=0, search=(1e-3, 1e-1))
    eps: tuple[float, float] = hyper((1e-30, 1e-3), "added to g squared; least RMS(p) of the scale", ge=0)
    clip_threshold: float = hyper(1.0, "largest RMS of an update before lr", gt=0)
    decay_rate: float = hyper(-0.8, "exponent of the step count in the decay of the averages", le=0)
    beta1: float | None = hyper(None, "decay of the average of updates, None for no average", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "decoupled decay, times the step size in force", ge=0)
    scale_parameter: bool = hyper(True, "multiply the step by RMS(p)")
    relative_step: bool | None = hyper(None, "step size from the step count; None: if no lr is given")
    warmup_init: bool = hyper(False, "let the relative step grow from 1e-6")

    exp_avg_sq_row = state("R", shape=lambda shape, group: shape[:-1] if len(shape) > 1 else None)
    exp_avg_sq_col = state("C", shape=lambda shape, group: (*shape[:-2], shape[-1]) if len(shape) > 1 else None)
    exp_avg_sq = state("v", shape=lambda shape, group: shape if len(shape) < 2 else None)
    exp_avg = state("average of updates", when=lambda group: group["beta1"] is not None)

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Decide between lr and the relative step."""
        has_lr = "lr" in given and options["lr"] is not None
        if "relative_step" not in given or options["relative_step"] is None:
            relative = not has_lr and (options["lr"] is None or bool(options["relative_step"]))
        elif has_lr and options["relative_step"]:
            raise InvalidOption(f"{cls.__name__}: relative_step=True finds lr by itself: leave out one of them")
        elif not (options["relative_step"] or has_lr):
            raise InvalidOption(f"{cls.__name__}: relative_step=False needs a step size: add lr=1e-3, say")
        else:
            relative = options["relative_step"]
        if options["warmup_init"] and not relative:
            raise InvalidOption(f"{cls.__name__}: warmup_init=True belongs to the relative step: leave out lr, or it")
        return options | {"relative_step": relative, "lr": 1.0 if relative else options["lr"]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq_row: Value | None,
        exp_avg_sq_col: Value | None,
        exp_avg_sq: Value | None,
        exp_avg: Value | None,
        *,
        lr: Value,
        eps: tuple[Value, Value],
        clip_threshold: Value,
        decay_rate: Value,
        beta1: Value | None,
        weight_decay: Value,
        scale_parameter: bool,
        relative_step: bool,
        warmup_init: bool,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        b = 1 - step**decay_rate
        R, C, v = exp_avg_sq_row, exp_avg_sq_col, exp_avg_sq
        if v is not None:
            v = lerp(square(g) + eps[0], v, b)
            u = g / sqrt(v)
        else:
            R, C = averaged(R, C, square(g) + eps[0], b=b)
            u = g * inverse_root(R, C)
        u = u / maximum(1, rms(u) / clip_threshold)
        a = lr * minimum(1e-6 * step if warmup_init else 1e-2, step**-0.5) if relative_step else lr
        a = a * maximum(eps[1], rms(p)) if scale_parameter else a
        u = a * u
        if beta1 is not None and exp_avg is not None:
            u = exp_avg = lerp(u, exp_avg, beta1)
        return p * (1 - weight_decay * a) - u, R, C, v, exp_avg
