"""Weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.rules import Transform, Value
from optim_core.wrapping import TransformWrapper, Wrapper


@dataclass(frozen=True)
class Decay(Transform):
    """A pull towards zero: of the weights themselves, or by way of the gradient."""

    weight_decay: float
    decoupled: bool
    matrices_only: bool

    def gradient(self, g: Value, p: Value) -> Value:
        """g + weight_decay p, for L2."""
        return g if self.decoupled or self._leaves_alone(p) else g + self.weight_decay * p

    def parameter(self, p: Value, options: Mapping[str, Any]) -> Value:
        """p (1 - lr weight_decay), if decoupled."""
        return p * (1 - options["lr"] * self.weight_decay) if self.decoupled and not self._leaves_alone(p) else p

    def _leaves_alone(self, p: Value) -> bool:
        return self.weight_decay == 0 or (self.matrices_only and p.ndim <= 1)


def refuse_double_decay(wrapper: Wrapper, group: Mapping[str, Any]) -> None:
    """Refuse to decay what decays already.

    Raises:
        WrapperConflict: the base has a weight decay of its own.
    """
    own = group.get("weight_decay")
    if own:
        raise WrapperConflict(
            f"{wrapper.method.name} goes around methods that do not decay by themselves, but "
            f"{type(wrapper.innermost).__name__} has weight_decay={own!r}: give it weight_decay=0, or leave this "
            "wrapper out"
        )


class WeightDecay(TransformWrapper):
    """Weight decay for methods that have none, or where it is wanted apart.

    ::

        p = p (1 - lr weight_decay)     decoupled, before the step, as AdamW does; follows the schedule of lr
        g = g + weight_decay p          decoupled=False: L2, which passes through the method's averages

    Only parameters with a gradient decay, as everywhere in torch. Wrappers inside of this one see a gradient with the
    L2 term, those around it see one without: clip around it to clip the loss's gradient alone. A method that decays by
    itself is refused, since weights would decay twice.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = WeightDecay(torch.optim.Rprop([weight], lr=0.1), weight_decay=0.5)
        >>> _ = optimizer.minimize(lambda: weight.square().sum())
        >>> [round(x, 3) for x in weight.tolist()]  # 5 % less, then Rprop's 0.1
        [0.85, -1.8]

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2017, Algorithms 1 and 2,
    https://arxiv.org/abs/1711.05101.
    """

    weight_decay: float = hyper(1e-2, "coefficient of the decay; times lr if decoupled", ge=0, search=(1e-4, 1.0))
    decoupled: bool = hyper(True, "shrink the weights themselves; False: L2, added to the gradient")
    matrices_only: bool = hyper(False, "leave tensors of fewer than two dimensions (biases, gains) alone")

    @property
    def uses_lr(self) -> bool:
        """The decoupled form is in proportion to it."""
        return bool(self.options["decoupled"])

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse to decay twice.

        Raises:
            WrapperConflict: the base has a weight decay of its own.
        """
        super().on_group(group)
        refuse_double_decay(self, group)

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return Decay(self.options["weight_decay"], self.options["decoupled"], self.options["matrices_only"])
