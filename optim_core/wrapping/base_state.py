"""The state of an optimizer that is not a wrapper, with what wrappers around it keep there."""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.optimizers import checkpoint
from optim_core.optimizers.checkpoint import LoadResult, Options
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.matching import Rename


class NotBegun(dict[str, Any]):
    """The state of a parameter that has none: empty, and begun by whoever sets an entry.

    With a gradient, all states of the optimizer begin then: a checkpoint written before its first step, in the midst of
    a window of gradient accumulation, has the names that a fresh optimizer looks for.

    Args:
        optimizer: the optimizer.
        p: the parameter.
        begin: creates the optimizer's states of parameters with a gradient, without a step.
    """

    def __init__(self, optimizer: Optimizer, p: Tensor, begin: Callable[[], None]) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._p = p
        self._begin = begin

    def __setitem__(self, key: str, value: Any) -> None:
        if self._p.grad is not None and not self._optimizer.state.get(self._p):
            self._begin()
        self._optimizer.state[self._p][key] = value


class BaseState:
    """The state of a base: its own, and what waits for it to begin.

    torch's optimizers begin the state of a parameter only where it is empty, so nothing is put there before they have
    stepped with it.

    Args:
        optimizer: the base.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        #: What wrappers keep of parameters with which the optimizer has not stepped.
        self.waiting: dict[Tensor, dict[str, Any]] = {}

    def state_of(self, p: Tensor, /) -> MutableMapping[str, Any]:
        """The optimizer's, once it has begun one; before, a dict that waits for it."""
        own: MutableMapping[str, Any] = self.optimizer.state.get(p, {})
        return own or self.waiting.setdefault(p, {})

    def hand_over(self) -> None:
        """Put what has waited into the states that have begun with this step."""
        for p in [p for p in self.waiting if p.grad is not None]:
            self.optimizer.state[p].update(self.waiting.pop(p))

    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Keep nothing of parameters that have left."""
        self.waiting = {p: mine for p, mine in self.waiting.items() if p in present}

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's, and what waits."""
        saved = self.optimizer.state_dict()
        waiting = {k: self.waiting.get(p, {}) for k, p in enumerate(parameters(self.optimizer))}
        states = {k: {**saved["state"].get(k, {}), **x} for k, x in waiting.items()}
        return checkpoint.with_each_parameter(
            saved | {"state": saved["state"] | {k: x for k, x in states.items() if x}}
        )

    def load_state_dict(
        self, state_dict: dict[str, Any], strict: bool = True, /, *, rename: Rename | None, options: Options | None
    ) -> LoadResult:
        """Take over a state, by names if both sides know them; torch itself goes by order alone."""
        with torch.inference_mode(mode=False):
            loading = checkpoint.Loading(self.optimizer, state_dict, strict=strict, rename=rename, options=options)
            self._take_over(loading)
        return loading.result

    def _take_over(self, loading: checkpoint.Loading) -> None:
        optimizer = self.optimizer
        prefixes = tuple(f"{name}_" for name, _ in checkpoint.layers_of(optimizer.param_groups)[1:])
        number = {p: k for k, p in enumerate(parameters(optimizer))}
        states: dict[int, dict[str, Any]] = {}
        kept: dict[Tensor, dict[str, Any]] = {}
        for member in loading.members:
            mine = {key for key in member.saved if key.startswith(prefixes)} if prefixes else set()
            for key in mine:
                if isinstance(member.saved[key], Tensor) and member.saved[key].ndim:
                    loading.check_shape(member, key, member.p.shape)
            kept[member.p] = {key: _copied(member.saved[key], member.p) for key in mine}
            own = {key: x for key, x in member.saved.items() if key not in mine}
            states |= {number[member.p]: own} if own else {}
        at = iter(range(len(number)))
        groups = [
            {**entries, "params": [next(at) for _ in group["params"]]}
            for entries, group in zip(loading.groups, optimizer.param_groups, strict=True)
        ]
        optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.waiting = {}
        for p, tensors in kept.items():
            for key, x in tensors.items():
                self.state_of(p)[key] = x


def _copied(x: Any, p: Tensor) -> Any:
    return x.to(p.device, copy=True) if isinstance(x, Tensor) else x
