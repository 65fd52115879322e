"""Stable weight decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.rules import Level, Offers, Transform, Value, sqrt, total, where
from optim_core.wrapping import TransformWrapper, offered, require
from optim_core_wrappers.decay import refuse_double_decay


@dataclass(frozen=True)
class StableDecay(Transform):
    """A pull towards zero in proportion to the step size that is in force on the whole."""

    weight_decay: float
    #: True if that step size goes by a second moment: then every parameter takes part in its mean
    by_moment: bool

    def decay(self, p: Value, options: Mapping[str, Any], offers: Offers) -> Value:
        """p (1 - lr weight_decay gain / r), r the root of the mean of the second moment, if there is one."""
        factor: Value = options["lr"] * self.weight_decay
        if offers.gain is not None:
            factor = factor * offers.gain
        if self.by_moment:
            v, n = offers.squares(p)
            r = sqrt(total(v) / total(n))
            if offers.second_moment is None:
                return p
            factor = where(r > 0, factor / r, 0.0)
        return p * (1 - factor)


class StableWeightDecay(TransformWrapper):
    """Decoupled weight decay that follows the step size in force: lr, times gains, over the root of the mean of v.

    ::

        p = p (1 - lr weight_decay (1 - dampening) / (1 - momentum))                         for SGD (SGDS)
        p = p (1 - lr weight_decay / r)     r = sqrt(mean of v / (1 - beta2^t))              for Adam (AdamS)

    and alike for any method that names its second moment or its gain, which is what steady gradients are multiplied by
    in the long run. The mean is over all elements of all parameters that have a gradient in this step, in whatever
    group, which takes a pass over memory; r = 0 means no decay, and there is no eps in it. With ``amsgrad`` v is the
    largest so far. The decay is subtracted together with the update: a method whose update depends on p, such as LAMB,
    sees it as it was before. Steps that are not divided by the second moment, like RAdam's first ones, do not decay.
    The base's own weight decay must be 0. SGD ignores ``dampening`` where there is no momentum, and so does its decay;
    the authors' factor is 1 - dampening there.

    Raises:
        NotOffered: the base names neither a second moment nor a gain.
        WrapperConflict: the base has a weight decay of its own, or no learning rate.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = StableWeightDecay(torch.optim.SGD([weight], lr=0.1, momentum=0.9), weight_decay=0.05)
        >>> _ = optimizer.minimize(lambda: 0 * weight.sum())
        >>> [round(x, 3) for x in weight.tolist()]  # 0.1 * 0.05 / (1 - 0.9) is 5 %
        [0.95, -1.9]

    Source: Xie, Xu, Zhang, Sato and Sugiyama, On the Overlooked Pitfalls of Weight Decay and How to Mitigate Them: A
    Gradient-Norm Perspective, 2020, https://arxiv.org/abs/2011.11152; r = 0 apart, as in the authors' code.
    """

    weight_decay: float = hyper(
        1e-4, "coefficient of the decay, times the step size in force", ge=0, search=(1e-5, 1e-2)
    )

    @property
    def uses_lr(self) -> bool:
        """The decay is in proportion to it."""
        return True

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse groups that cannot decay by their step size, or decay already.

        Raises:
            NotOffered: naming methods that can.
            WrapperConflict: the group decays by itself, or goes by another kind of step size than the first one.
        """
        super().on_group(group)
        refuse_double_decay(self, group)
        offers = require(
            self, group, "a second moment, or a gain", lambda o: o.second_moment is not None or o.gain is not None
        )
        if (
            isinstance(offers.gain, Value)
            and offers.gain.level is Level.HOST
            and not 0 <= float(offers.gain) < math.inf
        ):
            raise WrapperConflict(
                f"{self.method.name} decays by the step size in the long run, but with these options the steps of "
                f"{type(self.innermost).__name__} grow without end: give it a momentum below 1"
            )
        if (offers.second_moment is not None) is not self._by_moment:
            raise WrapperConflict(
                f"{self.method.name}: some groups of {type(self.innermost).__name__} have a second moment, others have "
                "none, so there is no mean over all: give them options alike, or optimizers of their own"
            )

    @property
    def _by_moment(self) -> bool:
        return offered(type(self.innermost), self.param_groups[0]).second_moment is not None

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return StableDecay(self.options["weight_decay"], self._by_moment)
