"""The place of eps."""

from __future__ import annotations

from typing import Any, ClassVar

from optim_core.methods import hyper
from optim_core.rules import Denominator, Inner, Value, maximum
from optim_core.wrapping import RuleWrapper, require


class EpsPlacement(RuleWrapper):
    """Moves the eps of a method to where another program has it.

    With c2 the bias correction of v, a method that divides by sqrt(v / c2) + eps divides instead by::

        max(sqrt(v / c2), eps)          "floor": HeavyBall, and lucidrains' classes
        (sqrt(v) + eps) / sqrt(c2)      "uncorrected": the first BertAdam, transformers' AdamW, Grams

    In the first steps an uncorrected eps weighs up to 1 / sqrt(1 - beta2) times as much.

    Raises:
        NotOffered: the base has no rule, no eps, or divides by nothing.

    Example:
        >>> import torch, optim_core
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> base = optim_core.get("adamw")([weight], lr=0.1, eps=1.0)  # doctest: +SKIP
        >>> _ = EpsPlacement(base).minimize(lambda: 4 * weight.sum())  # doctest: +SKIP
        >>> [round(x, 6) for x in weight.tolist()]  # 0.1 * 4 / max(4, 1)  # doctest: +SKIP
        [-0.1, -0.1]

    Source: what the programs named above do.
    """

    of_base: ClassVar[tuple[str, ...]] = ("eps",)
    needs_rule: ClassVar[bool] = True

    place: str = hyper(
        "floor", "'floor': the least denominator; 'uncorrected': added to sqrt(v)", choices=("floor", "uncorrected")
    )

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse a method without a denominator.

        Raises:
            NotOffered: naming methods that have one.
        """
        super().on_group(group)
        require(self, group, "a denominator", lambda offers: bool(offers.denominators))

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, *, eps: Value, place: str) -> Value:
        """The update with the other denominator."""

        def moved_eps(d: Denominator) -> Value:
            return maximum(d.corrected(d.bare), eps) if place == "floor" else d.corrected(d.bare + eps)

        return inner(p, g, denominator=moved_eps).p
