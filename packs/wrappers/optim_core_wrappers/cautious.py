"""Cautious updates."""

from __future__ import annotations

from typing import ClassVar

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.optimizers import RuleOptimizer
from optim_core.rules import Inner, Value, maximum, mean, sqrt, where
from optim_core.wrapping import RuleWrapper


class Cautious(RuleWrapper):
    """Leaves out those elements of an update that go against the present gradient, and enlarges the others.

    With u the base's update and g the gradient::

        mask = 1 where u g > 0, else 0
        p = p - u mask / max(mean(mask), mask_floor)          (the mean over the tensor)

    The base's state is kept unmasked, and decoupled weight decay is never masked. An L2 term of the base is part
    of u, not of g. Where g is zero, and where nothing agrees, nothing moves. The authors' first release scaled by
    numel / (sum(mask) + 1), which halves the step of single numbers; this is what they do now. ``eps_mode="hf"`` is for
    their AdamW: there eps is added to the root before the bias correction (with their default, eps=1e-6).

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = Cautious(torch.optim.SGD([weight], lr=1.0, momentum=0.9))
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([1.0, 1.0])).sum())
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([1.0, -0.5])).sum())
        >>> [round(x, 3) for x in weight.tolist()]  # momentum would have moved the second one by -0.4
        [-4.8, -1.0]

    Source: Liang et al., Cautious Optimizers: Improving Training with One Line of Code, 2024,
    https://arxiv.org/abs/2411.16085, Algorithm 1; the scaling from the authors' code.
    """

    asks_base: ClassVar[tuple[str, ...]] = ("eps", "betas", "step")

    caution: bool = hyper(True, "leave out what goes against the gradient")
    mask_floor: float = hyper(1e-3, "lower bound of the mask's mean", gt=0, le=1)
    eps_mode: str = hyper(
        "base", "'hf' divides the eps of an Adam inside by sqrt(1 - beta2^t), as the authors do", choices=("base", "hf")
    )

    def on_wrap(self) -> None:
        """Refuse to change an eps that is not there.

        Raises:
            WrapperConflict: the base is not an Adam of optim-core.
        """
        inner = self.innermost
        known = inner.method.keywords if isinstance(inner, RuleOptimizer) and inner.method.rule else ()
        if self.options["eps_mode"] == "hf" and not {"eps", "betas"} <= set(known):
            raise WrapperConflict(
                f"Cautious: eps_mode='hf' changes the eps of a rule with eps and betas; {type(inner).__name__} gives "
                "no access to them: use optim_core.get('adamw'), or leave eps_mode at 'base'"
            )
        super().on_wrap()

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        *,
        caution: bool,
        mask_floor: float,
        eps_mode: str,
        eps: Value | None,
        betas: tuple[Value, Value] | None,
        step: Value | None,
    ) -> Value:
        """The update above."""
        if eps_mode == "hf" and eps is not None and betas is not None and step is not None:
            moved = inner(p, g, eps=eps / sqrt(1 - betas[1] ** step))  # (sqrt(v) + eps) / sqrt(c2), then
        else:
            moved = inner(p, g)
        if not caution:
            return moved.p
        agrees = moved.update * moved.gradient > 0
        return moved.start - moved.update * (where(agrees, 1.0, 0.0) / maximum(mean(agrees), mask_floor))
