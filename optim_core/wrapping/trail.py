"""Trail: what layers around the step of an optimizer hand on outwards, so that several act as in one rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core.rules.compose import CompositionSettings


class Trail:
    """What has become of each parameter in the layers so far, for those further outside.

    Attributes:
        starts: what the update is subtracted from: the parameter after decay that acts on itself.
        seen: the gradient with which the optimizer has stepped.
        active: False if there is one layer only, which knows all that itself.

    Args:
        layers: what works around the step, the innermost first.
    """

    def __init__(self, layers: Sequence[object]) -> None:
        self._layers = layers
        self.active = len(layers) > 1
        self.starts: dict[Tensor, Tensor] = {}
        self.seen: dict[Tensor, Tensor] = {}

    def is_inside(self, layer: object) -> bool:
        """Return whether something is inside a layer, which hands on."""
        return layer is not self._layers[0]

    @torch.no_grad()
    def begin(self, groups: Sequence[Mapping[str, Any]], settings: Sequence[CompositionSettings]) -> None:
        """Note what the optimizer is about to step from, and with.

        Args:
            groups: its groups.
            settings: of each, which tell how it decays.
        """
        for group, how in zip(groups, settings, strict=True):
            factor: Any = 1.0
            if how.decay == "decoupled" and group.get("weight_decay"):
                factor = 1 - (1.0 if how.fixed_decay else group["lr"]) * group["weight_decay"]
            for p in group["params"]:
                if p.grad is not None:
                    self.seen[p], self.starts[p] = p.grad, p.detach() * factor

    def columns(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """What there is of some parameters, as buffers."""
        if not self.active:
            return {}
        return {"start": [self.starts[p] for p in params], "seen": [self.seen[p] for p in params]}
