"""The state dict of a wrapper: that of its base, and what each wrapper keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from optim_core.errors import CheckpointMismatch
from optim_core.optimizers import checkpoint
from optim_core.optimizers.gradients import parameters
from optim_core.wrapping.shared import Shared


class Saved(Shared):
    """A wrapper whose ``memory`` and ``counters`` are saved with the state of its base."""

    def state_dict(self) -> dict[str, Any]:
        """The base's state dict, and under ``wrappers`` what each wrapper keeps, the innermost first."""
        for prepare in self._optimizer_state_dict_pre_hooks.values():
            prepare(self)
        saved = self.base.state_dict()
        index = {p: k for k, p in enumerate(parameters(self))}
        mine = {index[p]: dict(tensors) for p, tensors in self.memory.items() if p in index}
        entry = {"name": self.method.name, "memory": mine, "counters": dict(self.counters)}
        saved = saved | {"wrappers": [*saved.get("wrappers", []), entry]}
        for change in self._optimizer_state_dict_post_hooks.values():
            saved = change(self, saved) or saved
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, the base's and the wrapper's own.

        Raises:
            CheckpointMismatch: it was saved without this wrapper, or from another model or method; nothing is
                changed then.
        """
        for change in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = change(self, state_dict) or state_dict
        *inside, entry = self._saved_layers(state_dict)
        own = checkpoint.align({**state_dict, "state": entry["memory"]}, self.param_groups, self.method.name)
        memory = dict(zip(parameters(self), checkpoint.parameter_entries(own), strict=True))
        self._check_shapes(memory)
        base = {name: x for name, x in state_dict.items() if name != "wrappers"}
        self.base_steps.load_state_dict(base | ({"wrappers": inside} if inside else {}))
        self.memory = {
            p: {name: x.to(p.device, copy=True) for name, x in mine.items()} for p, mine in memory.items() if mine
        }
        self.counters = dict(entry["counters"])
        for finish in self._optimizer_load_state_dict_post_hooks.values():
            finish(self)

    def _saved_layers(self, state_dict: Mapping[str, Any]) -> list[dict[str, Any]]:
        saved = list(state_dict.get("wrappers", []))
        names = [entry["name"] for entry in saved]
        if names != list(self.layers):
            raise CheckpointMismatch(
                f"the checkpoint was saved with the wrappers {', '.join(names) or 'none'} (the innermost first), this "
                f"optimizer has {', '.join(self.layers)}: build it with the same wrappers in the same order"
            )
        return saved

    def _check_shapes(self, memory: Mapping[Tensor, Mapping[str, Tensor]]) -> None:
        for p, mine in memory.items():
            for name, x in mine.items():
                if x.ndim:
                    checkpoint.check_shape(x, p, name, self.method.name)

    def __getstate__(self) -> dict[str, Any]:
        names = ("base", "base_steps", "options", "memory", "counters", "stepped", "_collected", "_set_up")
        return {name: self.__dict__[name] for name in names if name in self.__dict__}
