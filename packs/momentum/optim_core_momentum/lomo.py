"""LOMO."""

from __future__ import annotations

from optim_core import decoupled, hyper
from optim_core.optimizers import FusedBackward
from optim_core.rules import Value, clamp, gain


class LOMO(FusedBackward):
    """Gradient descent in the middle of backward: no state, and one gradient at a time, for tuning large models.

    ``optimizer.fused_backward(loss)`` steps with each gradient as soon as it is there, and drops it::

        g = g within clip_grad_value, then times min(1, clip_grad_norm / (|g| + 1e-6)), |g| the norm of all gradients
        p = p (1 - lr weight_decay) - lr g

    :class:`~optim_core.optimizers.FusedBackward` tells what it takes with clip_grad_norm (two passes), and what does
    not go with it. ``minimize``, and ``backward()`` with ``step()``, do the same with all gradients at once. lr is the
    group's, unless ``fused_backward(loss, lr)`` gives another; the authors' class gets it there only, takes a model,
    uses a norm again that was measured for another step, and has a loss scale of its own for float16. Take a far larger
    lr than Adam's: the authors' is 0.03. GradientRelease does as much for other methods.

    Raises:
        ClosureError: ``fused_backward`` with clip_grad_norm, and no norm measured.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = LOMO([w], lr=0.25)
        >>> optimizer.fused_backward(w.square().sum())
        >>> w.tolist(), w.grad
        ([0.5, -1.0], None)

    Source: Lv, Yang, Liu, Gao, Guo and Qiu, Full Parameter Fine-tuning for Large Language Models with Limited
    Resources, 2023, Algorithm 1, https://arxiv.org/abs/2306.09782.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-3, 1.0))
    clip_grad_norm: float | None = hyper(None, "largest norm of all gradients, None for any", gt=0, common=True)
    clip_grad_value: float | None = hyper(None, "largest element of a gradient, None for any", gt=0, common=True)
    weight_decay: float = decoupled(0.0)

    @staticmethod
    def rule(p: Value, g: Value, *, lr: Value, clip_grad_value: Value | None) -> Value:
        """The update above; the norm is seen to before."""
        if clip_grad_value is not None:
            g = clamp(g, -clip_grad_value, clip_grad_value)
        return p - lr * gain(g, 1.0)
