"""GrokFastAdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from optim_core import hyper, state
from optim_core.errors import InvalidOption
from optim_core.methods import around
from optim_core.rules import Inner, Value, gain
from optim_core.wrapping import RuleWrapper
from optim_core_adaptive.adamw import AdamW


class Pull(RuleWrapper):
    """Decay, or a pull to where the weights began, in proportion to lr by its first value."""

    of_base: ClassVar[tuple[str, ...]] = ("lr",)
    asks_base: ClassVar[tuple[str, ...]] = ("grokfast", "grokfast_lamb")

    weight_decay: float = hyper(0.0, "decay, times lr/lr0, or times lr unless fixed_decay", ge=0)
    fixed_decay: bool = hyper(True, "decay by lr/lr0 weight_decay instead of lr weight_decay")
    regen_reg_rate: float = hyper(0.0, "pull to the first weights, times lr/lr0, instead of decay", ge=0)
    lr0: float | None = hyper(None, "the first lr of a schedule; None: lr after normalize_lr", gt=0)

    param_init = state("the first weights", start="p", when="regen_reg_rate")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        inner: Inner,
        param_init: Value,
        *,
        lr: Value,
        weight_decay: Value,
        fixed_decay: bool,
        regen_reg_rate: Value,
        lr0: Value,
        grokfast: bool,
        grokfast_lamb: Value,
    ) -> tuple[Value, ...]:
        """What the base makes of the weights that have been pulled."""
        if weight_decay:
            p = p * (1 - (lr / lr0 if fixed_decay else lr) * weight_decay)
        if regen_reg_rate:
            p = p + lr / lr0 * regen_reg_rate * (param_init - p)
        new_p = inner(p, g).p
        return gain(new_p, 1 + grokfast_lamb) if grokfast else new_p, param_init


class GrokFastAdamW(AdamW):
    """AdamW that amplifies the slow part of each gradient, so that what generalises late is learned early.

    Composed of :class:`AdamW` and the wrappers ``grokfast`` and ``eps_placement`` (``"floor"``). With lr0 the group's
    lr at first::

        p  = p (1 - lr/lr0 weight_decay)            fixed_decay=False: p (1 - lr weight_decay)
        p  = p + lr/lr0 regen_reg_rate (p of the first step - p)        from the second step on
        mu = alpha mu + (1 - alpha) g               after grokfast_after_step, beginning as g
        g  = g + lamb mu
        p  = p - lr (m / c1) / max(sqrt(v / c2), eps)                   Adam's m and v, of the new g

    With normalize_lr the lr given is divided by 1 + lamb at construction, since slow gradients grow by that; a
    scheduler multiplies what is left. **Decay is without lr** by default: weight_decay = 0.01 takes a hundredth off in
    each step. In pytorch-optimizer the average begins with the first step's gradient, however late it is used.

    Raises:
        InvalidOption: both weight_decay and regen_reg_rate.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = GrokFastAdamW([w], lr=0.3)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]  # lr is 0.3 / (1 + 2)
        [0.9, -1.9]

    Source: Lee et al., Grokfast: Accelerated Grokking by Amplifying Slow Gradients, 2024,
    https://arxiv.org/abs/2405.20233; the method from lucidrains' grokfast-pytorch.
    """

    around = (
        around(Pull),
        around(
            "grokfast",
            {"alpha": "grokfast_alpha", "lamb": "grokfast_lamb", "after_step": "grokfast_after_step"},
            filter="ema",
            window_size=1,
            filter_type="mean",
            warmup=False,
        ),
        around("eps_placement", place="floor"),
    )

    lr: float = hyper(1e-4, "step size, before it is normalised", ge=0, search=(1e-3, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.99), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "least denominator", ge=0)
    weight_decay: float = hyper(0.0, "decay, times lr/lr0, or times lr unless fixed_decay", ge=0)
    normalize_lr: bool = hyper(True, "divide the lr given by 1 + grokfast_lamb at construction")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Normalise lr.

        Raises:
            InvalidOption: the weights would be pulled to two points.
        """
        options = super().resolve(options, given)
        if options["weight_decay"] and options["regen_reg_rate"]:
            raise InvalidOption(
                f"{cls.__name__}: weight_decay pulls to zero, regen_reg_rate to the first weights: give one of them"
            )
        if options["lr0"] is not None:
            return options
        normalised = options["grokfast"] and options["normalize_lr"]
        lr = options["lr"] / (1 + options["grokfast_lamb"]) if normalised else options["lr"]
        return options | {"lr": lr, "lr0": float(lr) or 1.0}
