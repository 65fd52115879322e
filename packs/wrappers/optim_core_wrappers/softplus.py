"""A softplus of the denominator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optim_core.methods import hyper
from optim_core.rules import Denominator, Transform, Value, softplus
from optim_core.wrapping import TransformWrapper, require


@dataclass(frozen=True)
class Smooth(Transform):
    """A softplus of the denominator: before its bias correction and without eps, or of all of it."""

    sharpness: float
    raw: bool

    def denominator(self, d: Denominator) -> Value:
        """softplus(bare) with bias correction, or softplus(value)."""
        return d.corrected(softplus(d.bare, self.sharpness)) if self.raw else softplus(d.value, self.sharpness)


class SoftplusDenominator(TransformWrapper):
    """Smooths what an adaptive method divides by, so that no element's step can be of any length (SAdam, SAMSGrad).

    With softplus(x) = log(1 + exp(b x)) / b, which is x for large x and log(2) / b at 0, and for Adam::

        denominator = softplus(sqrt(v)) / sqrt(1 - beta2^t)                 "raw", the authors' form; no eps
        denominator = softplus(sqrt(v / (1 - beta2^t)) + eps)               "debiased", Ranger21's

    in the place of ``sqrt(v / (1 - beta2^t)) + eps``, and alike for any method that names its denominator. No element
    is divided by less than log(2) / b. The two forms differ in the first steps, while sqrt(v) is small. Where gradients
    are small against 1 / b, Adam becomes momentum SGD with a step size of up to 1.44 b lr, and so depends on their
    scale. The authors' class has ``amsgrad=True`` and ``lr=0.1`` by default; here both are the base's.

    Raises:
        NotOffered: the base divides by nothing that could be smoothed.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = SoftplusDenominator(torch.optim.Adam([weight], lr=0.1), denominator="debiased")
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([1.0, 1e-6])).sum())
        >>> [round(x, 6) for x in weight.tolist()]  # Adam would have moved both by -0.1
        [-0.1, -7e-06]

    Source: Tong, Liang and Bi, Calibrating the Adaptive Learning Rate to Improve Convergence of ADAM, 2019,
    https://arxiv.org/abs/1908.00700; "debiased" from Wright and Demeure, Ranger21, 2021,
    https://arxiv.org/abs/2106.13731.
    """

    beta_softplus: float = hyper(50.0, "sharpness of the softplus, b", gt=0, search=(5.0, 500.0))
    denominator: str = hyper(
        "raw", "smooth the bare root, and then correct it; or all, eps included", choices=("raw", "debiased")
    )

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse a method without a denominator.

        Raises:
            NotOffered: naming methods that have one.
        """
        super().on_group(group)
        require(self, group, "a denominator", lambda offers: bool(offers.denominators))

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return Smooth(self.options["beta_softplus"], self.options["denominator"] == "raw")
