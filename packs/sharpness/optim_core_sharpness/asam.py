"""Adaptive sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from optim_core.catalog import Need
from optim_core.errors import InvalidOption
from optim_core.methods import hyper
from optim_core.rules import Value
from optim_core_sharpness.participants import Options
from optim_core_sharpness.two_step import SharpnessAware, worst


class ASAM(SharpnessAware):
    r"""SAM within a radius that is relative to each weight, so that rescaling layers changes nothing.

    .. math:: \epsilon = \rho\, T^2 g / \lVert T g \rVert, \quad T = \lvert w \rvert + \eta,
        \qquad \text{base step with } \nabla L(w + \epsilon)

    As in the authors' code only parameters with ``weight`` in their name are scaled, those of batch normalisation
    among them; T = 1 for biases and any other name. That needs the names: ``SGD(model.named_parameters(), ...)``, or
    ``create_optimizer(model, ...)``. ``scale="all"`` needs none; with ``eta=0, perturb_eps=1e-12`` it is
    ``SAM(adaptive=True)``, in which weights that are 0 never move. rho is some ten times that of SAM.

    Driven as :class:`~optim_core_sharpness.two_step.SharpnessAware` tells.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = ASAM(torch.optim.SGD([("weight", weight)], lr=0.25), rho=1.0, eta=1.0)
        >>> optimizer.minimize(lambda: weight.square().sum()).item()
        1.0
        >>> weight.item()  # the gradient at 3 is 6
        -0.5

    Source: Kwon et al., ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural
    Networks, 2021, https://arxiv.org/abs/2102.11600, Algorithm 1.
    """

    rho: float = hyper(0.5, "radius of the excursion, relative to the weights", ge=0, search=(0.1, 2.0))
    eta: float = hyper(0.01, "added to the size of each weight", ge=0)
    scale: str = hyper("weights", "what is scaled: by name ('weights'), or all", choices=("weights", "all"))
    perturb_eps: float = hyper(1e-16, "added to the norm", ge=0)

    needs = frozenset({"closure", "named_params"})

    def needs_in_force(self) -> frozenset[Need]:
        """No names, if all weights are scaled."""
        needs = super().needs_in_force()
        return needs - {"named_params"} if self.options["scale"] == "all" else needs

    def on_group(self, group: dict[str, Any]) -> None:
        """Ask for names.

        Raises:
            InvalidOption: there are none, and they are to decide.
        """
        super().on_group(group)
        if self.options["scale"] == "weights" and "param_names" not in group:
            raise InvalidOption(
                "ASAM: scale='weights' goes by the parameters' names: build the base with model.named_parameters(), "
                "or choose scale='all'"
            )

    def parts(self, group: Mapping[str, Any]) -> Iterable[tuple[Options, Sequence[Tensor]]]:
        """The parameters that are scaled, and the others."""
        everything = self.options["scale"] == "all"
        names = group["params"] if everything else group["param_names"]
        for scaled in (True, False):
            pairs = zip(group["params"], names, strict=True)
            mine = [p for p, name in pairs if (everything or "weight" in name) == scaled]
            yield {"scaled": scaled}, mine

    @staticmethod
    def rise(
        p: Value, g: Value, kept: Value, *, rho: Value, eta: Value, scaled: bool, perturb_eps: Value
    ) -> Mapping[str, Value]:
        """w + epsilon."""
        del kept
        return {"p": p + worst(g, rho, perturb_eps, abs(p) + eta if scaled else None), "kept": p}
