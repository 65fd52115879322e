"""Hyperball."""

from __future__ import annotations

from typing import ClassVar

from optim_core.methods import hyper, state
from optim_core.rules import Inner, Value, maximum, norm, where
from optim_core.wrapping import RuleWrapper


class Hyperball(RuleWrapper):
    """Keeps the norm of each weight matrix, and turns it by an angle that lr alone says.

    With w' the weights after the base's step, norms over the whole tensor, and R the radius::

        q = w + lr R (w' - w) / max(|w' - w|, eps)
        w = q R / max(|q|, eps)                             project=False: w = q

    So only the direction of the base's step counts: whatever the base or a clipping scales a tensor's step by makes no
    difference, and weight decay in the base, whose weight_decay had better be 0, does next to nothing. lr is the
    tangent of an angle: 0.01 to 0.03 for matrices; the same is far too much for the tensors of fewer dimensions under
    an Adam, which take its plain step, so give them a group with an lr of their own.

    ``radius="initial"`` is the norm of the first step's weights, which a checkpoint carries; ``"current"`` that just
    before each step, the same but for rounding, and for what others do to the weights; a number is for all tensors,
    which the first step pulls to that norm. A tensor of norm zero, such as a zero-initialised output projection or
    LoRA's B, would stay zero for ever: while its norm is below eps it takes the base's plain step, and its radius is
    the first norm that is not.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = Hyperball(torch.optim.SGD([weight], lr=0.01))
        >>> for _ in range(3):
        ...     _ = optimizer.minimize(lambda: weight.square().sum() + weight[0, 0])
        >>> round(weight.norm().item(), 3)
        5.0

    Source: Wen et al., Fantastic Pretraining Optimizers and Where to Find Them II: Hyperball Optimization, 2026,
    https://arxiv.org/abs/2606.16899; the forms of the radius from the authors' and NVIDIA's code.
    """

    of_base: ClassVar[tuple[str, ...]] = ("lr",)

    radius: str | float = hyper("initial", "the norm: 'initial', 'current', or a number")
    project: bool = hyper(True, "bring the weights back to that norm; False: scale the step alone")
    min_dims: int = hyper(2, "tensors of fewer dimensions take the base's plain step", ge=0)
    eps: float = hyper(1e-12, "lower bound of norms", gt=0)

    first_norm = state("norm of the first step's weights; 0 while it is below eps", level="tensor")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        first_norm: Value,
        *,
        lr: Value,
        radius: str | Value,
        project: bool,
        min_dims: int,
        eps: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        moved = inner(p, g)
        if p.ndim < min_dims:
            return moved.p, first_norm
        now = norm(p)
        alive = now > eps
        first_norm = where(first_norm > 0, first_norm, where(alive, now, 0.0))
        r = {"initial": first_norm, "current": now}[radius] if isinstance(radius, str) else radius
        d = moved.since(p)
        q = p + lr * r / maximum(norm(d), eps) * d
        q = q * (r / maximum(norm(q), eps)) if project else q
        return where(alive, q, moved.p), first_norm
