"""StatefulOptimizer: torch's Optimizer with states that follow from a method's declarations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.methods import states
from optim_core.methods.method import Method
from optim_core.optimizers import checkpoint, draws, ranks
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.hosts import Hosted

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class StatefulOptimizer(Hosted, Optimizer):
    """An optimizer that creates, measures, saves and restores the states that its method declares."""

    method: ClassVar[Method]
    _generators: dict[str, torch.Generator]
    _seeding: draws.Seeding
    #: Which processes train together, so that they share draws and the mean of their losses: a process group of
    #: ``torch.distributed``, or None for this process by itself. By default those over whose mesh the parameters are
    #: sharded, or else all.
    process_group: Any

    # states of the model as a whole -------------------------------------------------------------------------
    @property
    def whole(self) -> Mapping[str, Any]:
        """State of the model as a whole: step count, states on level WHOLE, generators' states."""
        entries: Mapping[Any, Any] = self.state  # torch keeps entries whose key is not a tensor
        return entries.get("whole", _NOTHING)  # type: ignore[no-any-return]

    def set_whole(self, name: str, value: Any) -> None:
        """Set an entry of the state of the model as a whole."""
        entries: dict[Any, Any] = self.state
        entries.setdefault("whole", {})[name] = value

    @property
    def whole_step(self) -> int:
        """How many steps a method that counts them has done for the model as a whole."""
        return int(self.whole.get("step", 0))

    def generator(self, device: torch.device) -> torch.Generator:
        """The source of random draws on a kind of device; its state is part of the state dict.

        It is the optimizer's own: neither torch's global stream nor another optimizer's is correlated with it, and it
        is the same on all ranks, which therefore all begin to draw in the same step.
        """
        if device.type not in self._generators:
            generator = torch.Generator(device)
            saved = self.whole.get(f"generator_{device.type}")
            if saved is None:
                generator.manual_seed(self._fresh_seed())
            else:
                generator.set_state(saved.cpu())
            self._generators[device.type] = generator
        return self._generators[device.type]

    def _fresh_seed(self) -> int:
        return ranks.agreed(self._seeding.fresh_seed(self, self.method.name), self)

    # states of parameters -----------------------------------------------------------------------------------
    def start_state(self, p: Tensor, group: Mapping[str, Any]) -> bool:
        """Create the states that a parameter should have and lacks; returns True if its states begin here."""
        mine = self.state[p]
        number = len(self.state) + ("whole" not in self.state)
        return states.begin(mine, self.method.parameter_states, p, group, number=number)

    def set_state(self, p: Tensor, **values: Tensor | float) -> None:
        """Give states of a parameter values, such as first values before the first step."""
        for name, value in values.items():
            self.state[p][name] = states.store(self.method.states[name], value, p)

    def state_bytes(self) -> int:
        """Bytes of state once every parameter has had a gradient; single numbers for the model are not counted."""
        return sum(self.state_bytes_of(p, group) for group in self.param_groups for p in group["params"])

    def state_bytes_of(self, p: Tensor, group: Mapping[str, Any]) -> int:
        """The same for one parameter."""
        return sum(states.nbytes(declared, p, group) for declared in self.method.parameter_states.values())

    # saving -------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain containers of tensors and numbers, which ``torch.load(weights_only=True)`` accepts.

        Parameters that were given by name carry their names along (``param_names`` in each group).
        """
        self._save_generators()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, by names if both sides know them, otherwise by order.

        Raises:
            CheckpointMismatch: it comes from another model or another method; nothing is changed then.
        """
        state_dict = checkpoint.align(state_dict, self.param_groups, self.method.name)
        checkpoint.check(state_dict, self.param_groups, self.method)
        super().load_state_dict(state_dict)
        # torch gives states the parameter's dtype and may share memory with the dict: neither is wanted
        entries: dict[Any, Any] = self.state
        for p, saved in zip(parameters(self), checkpoint.parameter_entries(state_dict), strict=True):
            if saved:
                entries[p] = states.restore(saved, self.method.parameter_states, p)
        if "whole" in state_dict["state"]:
            entries["whole"] = states.restore_whole(state_dict["state"]["whole"])
        self.forget()

    def forget(self) -> None:
        """Begin without anything that is not saved; called by the constructor, and when other states are loaded.

        What a method keeps from an evaluation to its step is set here: as an attribute of the class it would hide the
        optimizer's own from a host's proxy.
        """
        self._generators = {}
        self._seeding = draws.Seeding.present()

    def _save_generators(self) -> None:
        for kind, generator in self._generators.items():
            self.set_whole(f"generator_{kind}", generator.get_state())

    def __getstate__(self) -> dict[str, Any]:
        self._save_generators()
        return super().__getstate__()
