"""Composed: an optimizer whose rule other things are composed with, over parameters that others may move or cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog.needs import Need
from optim_core.methods.composition import Composition
from optim_core.methods.moved import follow
from optim_core.methods.update import Update
from optim_core.optimizers.pieces import HostOfPieces, host_of_pieces, is_flat, refuse_pieces
from optim_core.optimizers.stateful import StatefulOptimizer
from optim_core.rules.transform import Keeper, Transform
from optim_core.rules.values import Level


class Composed(StatefulOptimizer):
    """What follows from transforms composed with the rule, and from where parameters lie."""

    #: True if a sparse gradient updates the rows that it has by the same rule, decay and all, and leaves the others
    #: with their states alone: for rules that do little without a gradient, and take no means. Its spec says the same.
    sparse: ClassVar[bool] = False
    composition: Composition
    _update: Update
    _host_of_pieces: HostOfPieces | None

    if TYPE_CHECKING:

        def needs_in_force(self) -> frozenset[Need]:
            """The needs that remain with the options in force."""

    # transforms ---------------------------------------------------------------------------------------------
    def add_transform(
        self, transform: Transform, keeper: Keeper | None = None, *, excluded: Collection[Tensor] = ()
    ) -> None:
        """Compose a transform with the rule; arguments as for :meth:`~optim_core.methods.Composition.add`."""
        self.composition.add(transform, keeper, excluded)
        self._update.forget()

    def stacks(self) -> bool:
        """Return True if the rule calls functions of stacks for some parameter; sums over all do not go with them."""
        groups = self.param_groups
        return any(self._update.stacks(p, group, groups) for group in groups for p in group["params"])

    def start_state(self, p: Tensor, group: Mapping[str, Any], number: int) -> bool:
        """Create the states that the number-th parameter lacks, the method's and what transforms keep."""
        first = super().start_state(p, group, number)
        self.composition.begin(self.state[p], p)
        return first

    def complete_states(self, group: dict[str, Any]) -> None:
        """Where :meth:`on_group` has given a parameter some of its states, create the others."""
        before = sum(len(g["params"]) for g in self.param_groups[:-1])
        for number, p in enumerate(group["params"], start=before):
            if self.state.get(p):
                self.start_state(p, group, number)

    # parameters that are pieces, or have moved ---------------------------------------------------------------
    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """As :meth:`reach_of_step`, for a process that may have a part of the model."""
        return self.reach_of_step(group, *transforms)

    def reach_of_step(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """How far what becomes of an element depends on others: itself (ELEMENT), its tensor, or all (WHOLE).

        Args:
            group: a parameter group, whose options count.
            transforms: what is to be composed with the rule beside what is composed already.
        """
        if self.needs_in_force() & _WHOLE_MODEL or group["rounding"] == "stochastic":
            return Level.WHOLE
        return self._update.reach(group, self.param_groups, (*transforms, *self.composition.transforms))

    def check_pieces(self, group: Mapping[str, Any]) -> HostOfPieces | None:
        """Refuse pieces of a model, unless the method goes no farther than a piece; return their host, if any.

        Raises:
            UnsupportedParameter: naming the host.
        """
        host = host_of_pieces(group["params"])
        if host is not None:
            self._host_of_pieces = host
            if self.reach(group) > host.reach or self.needs_in_force() & host.refuses:
                refuse_pieces(self.method.name, host)
        return host

    def check_wrapped_since(self, params: Sequence[Tensor]) -> None:
        """Refuse pieces into which FSDP1 has cut the parameters after the constructor."""
        if self._host_of_pieces is None and is_flat(params):
            for group in self.param_groups:
                self.check_pieces(group)

    def generator(self, device: torch.device) -> torch.Generator:
        """A source of random draws on a kind of device; see :meth:`StatefulOptimizer.generator`.

        Raises:
            UnsupportedParameter: other processes hold the rest of these parameters, and would draw the same numbers.
        """
        if self._host_of_pieces is not None:
            refuse_pieces(self.method.name, self._host_of_pieces)
        return super().generator(device)

    def follow_parameters(self) -> None:
        """Have the states of all parameters follow them; for a ``collect`` that works with states.

        A step does so itself.

        Raises:
            UnsupportedParameter: a parameter has another shape than it had.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if p in self.state:
                    follow(self.state[p], self.method.parameter_states, p, group, self.method.name)


#: Needs of methods for which a process has to see the whole model.
_WHOLE_MODEL: frozenset[Need] = frozenset({"closure", "create_graph", "loss", "multi_loss"})
