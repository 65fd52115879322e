"""AdaLOMO."""

from __future__ import annotations

from optim_core import hyper, state
from optim_core.optimizers import FusedBackward
from optim_core.rules import Value, clamp, lerp, maximum, sqrt, square
from optim_core_adaptive.factored import averaged, inverse_root, rms


class AdaLOMO(FusedBackward):
    """AdaFactor in the middle of backward: row and column means for a state, and one gradient at a time.

    ``optimizer.fused_backward(loss)`` steps with each gradient as soon as it is there, and drops it. With RMS(x) the
    root mean square of a whole tensor and b = 1 - t^decay_rate, g clipped as LOMO does, for two dimensions and more
    (all but the last two count as a batch; for fewer, v = b v + (1 - b)(g^2 + eps1) and u = g / sqrt(v))::

        R = b R + (1 - b) mean(g^2 + eps1, last dimension)
        C = b C + (1 - b) mean(g^2 + eps1, last but one dimension)
        u = g / sqrt(R C / mean(R))
        u = u / max(1, RMS(u) / clip_threshold)
        a = lr max(eps2, RMS(p))
        p = p (1 - a weight_decay) - a u

    :class:`~optim_core.optimizers.FusedBackward` tells what it takes with clip_grad_norm (two passes), and what does
    not go with it. ``minimize``, and ``backward()`` with ``step()``, do the same with all gradients at once. lr is
    relative to the weights: 10 to 25 times AdamW's; it is the group's, unless ``fused_backward(loss, lr)`` gives
    another. The authors' class takes a model and tensors of one or two dimensions, keeps its states outside of
    checkpoints, and multiplies the loss by loss_scale, which changes nothing but what overflows in float16.

    Raises:
        ClosureError: ``fused_backward`` with clip_grad_norm, and no norm measured.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, -4.0], [4.0, 3.0]]))
        >>> optimizer = AdaLOMO([w], lr=0.01)
        >>> optimizer.fused_backward(w.square().sum())
        >>> [round(x, 3) for x in w.flatten().tolist()], w.grad
        ([2.97, -3.96, 3.96, 2.97], None)

    Source: Lv, Yan, Guo, Lv and Qiu, AdaLomo: Low-memory Optimization with Adaptive Learning Rate, 2023, Algorithm 1,
    https://arxiv.org/abs/2310.10195; decay of the averages as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size, a share of the root mean square of the weights", ge=0, search=(1e-3, 1e-1))
    eps: tuple[float, float] = hyper((1e-30, 1e-3), "added to g squared; least RMS(p) of the scale", ge=0)
    clip_threshold: float = hyper(1.0, "largest RMS of an update before lr", gt=0)
    decay_rate: float = hyper(-0.8, "exponent of the step count in the decay of the averages", le=0)
    clip_grad_norm: float | None = hyper(None, "largest norm of all gradients, None for any", gt=0, common=True)
    clip_grad_value: float | None = hyper(None, "largest element of a gradient, None for any", gt=0, common=True)
    weight_decay: float = hyper(0.0, "decoupled decay, times the step size in force", ge=0)

    exp_avg_sq_row = state("R", shape=lambda shape, group: shape[:-1] if len(shape) > 1 else None)
    exp_avg_sq_col = state("C", shape=lambda shape, group: (*shape[:-2], shape[-1]) if len(shape) > 1 else None)
    exp_avg_sq = state("v", shape=lambda shape, group: shape if len(shape) < 2 else None)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg_sq_row: Value | None,
        exp_avg_sq_col: Value | None,
        exp_avg_sq: Value | None,
        *,
        lr: Value,
        eps: tuple[Value, Value],
        clip_threshold: Value,
        decay_rate: Value,
        clip_grad_value: Value | None,
        weight_decay: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above; the norm is seen to before."""
        if clip_grad_value is not None:
            g = clamp(g, -clip_grad_value, clip_grad_value)
        b = 1 - step**decay_rate
        R, C, v = exp_avg_sq_row, exp_avg_sq_col, exp_avg_sq
        if v is not None:
            v = lerp(square(g) + eps[0], v, b)
            u = g / sqrt(v)
        else:
            R, C = averaged(R, C, square(g) + eps[0], b=b)
            u = g * inverse_root(R, C)
        u = u / maximum(1, rms(u) / clip_threshold)
        a = lr * maximum(eps[1], rms(p))
        return p * (1 - weight_decay * a) - a * u, R, C, v
