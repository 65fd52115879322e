"""Weighted sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.rules import Value, minimum, sqrt, square, total
from optim_core_sharpness.gsam import GSAM
from optim_core_sharpness.two_step import Expression, SharpnessAware


class WSAM(SharpnessAware):
    r"""SAM with sharpness, the difference between both gradients, weighted as a regularisation term.

    .. math:: g_p = \nabla L(w + \rho\, g / \lVert g \rVert), \qquad a = \gamma / (1 - \gamma)

    Decoupled, the base steps with g, and then :math:`w \leftarrow w - lr\, a\, (g_p - g)`, past moments and
    preconditioners, so with Adam this part is of the size of the raw gradient. Coupled, the base steps with
    :math:`a\, g_p + (1 - a)\, g`: for gamma = 0.9 that is a = 9, an extrapolation beyond g_p. gamma = 0.5 is SAM when
    coupled, gamma = 0 the base alone. ``max_norm`` clips g_p before it meets g (the authors' first version, with
    defaults of 0.88 and 1.0, clipped g as well).

    Driven as :class:`~optim_core_sharpness.two_step.SharpnessAware` tells.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = WSAM(torch.optim.SGD([weight], lr=0.25), rho=1.0, gamma=0.5)
        >>> optimizer.minimize(lambda: weight.square().sum()).item()
        1.0
        >>> weight.item()  # g = 2, g_p = 4, a = 1
        0.0

    Source: Yue et al., Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization Term, 2023,
    https://arxiv.org/abs/2305.15817, Algorithm 1.
    """

    rho: float = hyper(0.05, "radius of the excursion", ge=0, search=(0.01, 0.5))
    gamma: float = hyper(0.9, "weight of the sharpness", ge=0, lt=1, search=(0.8, 0.95))
    adaptive: bool = hyper(False, "scale the excursion by the size of each weight")
    decouple: bool = hyper(True, "apply the sharpness beside the base instead of through it")
    max_norm: float | None = hyper(None, "clip the norm of the second gradient to this", gt=0)
    perturb_eps: float = hyper(1e-12, "added to the norm", ge=0)

    def on_wrap(self) -> None:
        """Look for an lr.

        Raises:
            WrapperConflict: the base has none, or steps once for several calls, and the sharpness is to be applied
                beside it.
        """
        super().on_wrap()
        accumulator = next((wrapper for wrapper in self.inside if wrapper.accumulates), None)
        if self.options["decouple"] and accumulator is not None:
            raise WrapperConflict(
                f"WSAM: decouple=True applies the sharpness of each call, but {accumulator.method.name} inside "
                "steps once for several: use decouple=False"
            )
        if self.options["decouple"] and any("lr" not in group for group in self.param_groups):
            raise WrapperConflict(
                f"WSAM: decouple=True steps by the groups' lr, which {type(self.innermost).__name__} does not have: "
                "use decouple=False"
            )

    def options_of(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """The options, with the lr of the group."""
        return super().options_of(group) | {"lr": group.get("lr", 0.0)}

    def expressions(self) -> tuple[Expression, Expression | None]:
        """The expressions of the mode: decoupled or coupled."""
        return self.rise, self.apart if self.options["decouple"] else self.fall

    def descend(self) -> None:
        """The base's step, and the sharpness beside it."""
        super().descend()
        if self.options["decouple"]:
            a = self.options["gamma"] / (1 - self.options["gamma"])
            for members in self.sets:  # apart() has left the sharpness in the memory of the clean gradient
                torch._foreach_add_(members.p, members.columns["clean"], alpha=-a * float(members.options["lr"]))

    rise = staticmethod(GSAM.rise)

    @staticmethod
    def fall(
        p: Value, g: Value, kept: Value, clean: Value, *, gamma: Value, max_norm: Value | None
    ) -> Mapping[str, Value]:
        """Back to w, with both gradients mixed."""
        del p
        a = gamma / (1 - gamma)
        return {"p": kept, "g": a * _clipped(g, max_norm) + (1 - a) * clean}

    @staticmethod
    def apart(p: Value, g: Value, kept: Value, clean: Value, *, max_norm: Value | None) -> Mapping[str, Value]:
        """Back to w, with g, and the sharpness in the memory of the clean gradient."""
        del p
        return {"p": kept, "g": clean, "clean": _clipped(g, max_norm) - clean}


def _clipped(g: Value, max_norm: Value | None) -> Value:
    """Clip the norm over all parameters as ``torch.nn.utils.clip_grad_norm_`` does."""
    return g if max_norm is None else g * minimum(max_norm / (sqrt(total(square(g))) + 1e-6), 1.0)
