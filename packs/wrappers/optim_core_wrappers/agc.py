"""Adaptive gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from optim_core.errors import InvalidOption
from optim_core.methods import hyper
from optim_core.names import did_you_mean
from optim_core.rules import Transform, Value, maximum, norm, where
from optim_core.wrapping import TransformWrapper


@dataclass(frozen=True)
class UnitClip(Transform):
    """g, but of each unit at most clip_factor times the norm of its weights."""

    clip_factor: float
    eps: float

    def gradient(self, g: Value, p: Value) -> Value:
        """The update below."""
        n_p, n_g = (norm(x, over="row" if p.ndim > 1 else "tensor") for x in (p, g))
        limit = self.clip_factor * maximum(n_p, self.eps)
        return g * where(n_g > limit, limit / maximum(n_g, 1e-6), 1.0)


class AGC(TransformWrapper):
    """Holds the gradient of each output unit below a share of the norm of its weights.

    With N(x) the norm of each index of dimension 0, or of the whole tensor if it has one dimension or none::

        limit = clip_factor max(N(p), eps)
        g = g limit / max(N(g), 1e-6)   where N(g) > limit

    It acts on the gradient of the loss alone: the base's weight decay comes after it. Ports disagree about the unit: in
    torch's layout it is dimension 0, also for linear layers; for 1-d convolutions Ranger21 has a norm for each output
    and tap. The paper leaves the final classifier unclipped: ``exclude=["head"]`` excludes ``head.weight``,
    ``head.bias`` and whatever else there is below ``head``; for that the base needs names
    (``model.named_parameters()``, ``create_optimizer``). Tensors that are zero, such as fresh biases, move slowly at
    first: their gradient's norm is held to ``clip_factor * eps``.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = AGC(torch.optim.SGD([weight], lr=1.0), clip_factor=0.1)
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([[30.0, 40.0]])).sum())
        >>> [round(x, 3) for x in weight[0].tolist()]  # a step of norm 0.5
        [2.7, 3.6]

    Source: Brock et al., High-Performance Large-Scale Image Recognition Without Normalization, 2021,
    https://arxiv.org/abs/2102.06171, equation 3.
    """

    exclude: Sequence[str] = ()
    arguments: ClassVar[tuple[str, ...]] = ("exclude",)

    clip_factor: float = hyper(0.01, "largest ratio of the norms of gradient and weights", gt=0, search=(1e-3, 0.16))
    eps: float = hyper(1e-3, "lower bound of the norm of the weights", ge=0)

    def on_wrap(self) -> None:
        """Check that the names in ``exclude`` exist.

        Raises:
            InvalidOption: parameters have no names, or none of them is one that is excluded.
        """
        if isinstance(self.exclude, str):
            raise InvalidOption(f"AGC: exclude={self.exclude!r} should be a list of names, such as [{self.exclude!r}]")
        names = [name for group in self.param_groups for name in group.get("param_names", ())]
        if self.exclude and not names:
            raise InvalidOption(
                "AGC: exclude goes by the parameters' names: build the base with model.named_parameters()"
            )
        for part in self.exclude:
            if not any(_below(name, part) for name in names):
                parts = {".".join(words[: k + 1]) for words in (n.split(".") for n in names) for k in range(len(words))}
                raise InvalidOption(
                    f"AGC: exclude names {part!r}, but no parameter has that name or lies below it."
                    f"{did_you_mean(part, parts)}"
                )
        super().on_wrap()

    def excludes(self, name: str) -> bool:
        """Return True for what ``exclude`` names, and for what lies below it."""
        return any(_below(name, part) for part in self.exclude)

    def transform(self) -> Transform:
        """The transform that the options describe."""
        return UnitClip(self.options["clip_factor"], self.options["eps"])


def _below(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
