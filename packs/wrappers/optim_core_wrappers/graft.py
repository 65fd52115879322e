"""Grafting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from torch.optim.optimizer import Optimizer

import optim_core
from optim_core.errors import WrapperConflict
from optim_core.methods import hyper
from optim_core.optimizers import RuleOptimizer, check_gradient, needs_of, parameters
from optim_core.wrapping import Wrapper
from optim_core_wrappers.present_gradients import norm_of, refuse_accumulation

#: Such states have any shape.
_KEPT = "direction@"


class Graft(Wrapper):
    """Takes the length of each step from the base, and its direction from another method.

    From the same weights w and gradients both methods take a step, the base to w + m, the other to w + d::

        w = w + |m| / |d| d                     w where d is zero; norms of each tensor, or of all (scope="model")

    So a method whose directions are good and whose step sizes are hard to find, such as Shampoo, goes by the schedule
    of one for which they are known. Groups, schedules and decay are the base's: its decoupled decay is a part of m, and
    so counts for the length only. The other method has its own options, ``direction_options``; its lr does not matter
    while it has no decay, and stays as it is. Each keeps its states: memory is that of both, with one more copy of the
    weights during a step. All of it is in the state dict.

    ``direction`` is a name as for ``optim_core.get``, "adamw" by default, or a class. It may use gradients only, and
    keep what it keeps by parameter: what takes closures, draws, or counts for the model as a whole can be the base, and
    not the direction.

    Raises:
        WrapperConflict: the direction is such a method; or what is inside steps once for several calls.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([0.0, 0.0]))
        >>> base = torch.optim.SGD([weight], lr=0.5)
        >>> optimizer = Graft(base, direction="torch:adam")
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([6.0, 8.0])).sum())
        >>> [round(x, 3) for x in weight.tolist()]  # a step of length 5, as Adam goes: both elements alike
        [-3.536, -3.536]

    Source: Agarwal, Anil, Hazan, Koren and Zhang, Disentangling Adaptive Gradient Methods from Learning Rates, 2020,
    Algorithm 1, https://arxiv.org/abs/2002.11803.
    """

    scope: str = hyper("tensor", "what norms are of", choices=("tensor", "model"))

    direction: str | Callable[..., Optimizer] = "adamw"
    direction_options: Mapping[str, Any] | None = None
    arguments: ClassVar[tuple[str, ...]] = ("direction", "direction_options")

    def on_wrap(self) -> None:
        """Build the other method."""
        self._other: Optimizer | None = None
        super().on_wrap()
        refuse_accumulation(self)
        self.start_memory([p for p in parameters(self) if self.state.get(p)])

    def on_group(self, group: dict[str, Any]) -> None:
        """Let the other method have the group, too."""
        if self._other is None:
            make = optim_core.get(self.direction) if isinstance(self.direction, str) else self.direction
            self._other = make([*group["params"]], **(self.direction_options or {}))
            self._check(self._other)
        else:
            # wrappers further outside regroup parameters, as rotograd does
            held = set(parameters(self._other))
            new = [p for p in group["params"] if p not in held]
            self._other.add_param_group({"params": new})
        super().on_group(group)

    def _check(self, other: Optimizer) -> None:
        name, reason = type(other).__name__, ""
        if needs_of(other):
            reason = f"needs more than gradients ({', '.join(sorted(needs_of(other)))})"
        elif isinstance(other, RuleOptimizer) and (
            other.whole or other.random or "whole_step" in other.param_groups[0]
        ):
            reason = "draws, or keeps something for the model as a whole"
        elif isinstance(other, Wrapper):
            reason = "is a wrapper"
        if reason:
            raise WrapperConflict(
                f"{self.method.name}: {name} cannot give the direction, since it {reason}: choose a method such as "
                f"adamw, or make {name} the base"
            )

    @property
    def other(self) -> Optimizer:
        """The method that the directions are from, on the same parameters."""
        assert self._other is not None  # noqa: S101 - an optimizer has a group
        for mine, theirs in zip(self._other.param_groups, self.param_groups, strict=True):
            mine["params"] = [*theirs["params"]]  # parameters may have been exchanged
        for p in self._other.state.keys() - set(parameters(self)):
            del self._other.state[p]
        return self._other

    def apply(self) -> None:
        """A step of both, of which one gives the length."""
        params = [p for p in parameters(self) if p.grad is not None and p.numel()]
        for p in params:
            check_gradient(p, self.method.name)
        before = [p.detach().clone() for p in params]
        super().apply()
        lengths = self._lengths(self._moves(params, before))
        for p, w in zip(params, before, strict=True):
            p.copy_(w)
        self.other.step()
        moves = self._moves(params, before)
        for p, w, m, d, move in zip(params, before, lengths, self._lengths(moves), moves, strict=True):
            p.copy_(w + move * (m / d) if d else w)
        self._keep(params)

    @staticmethod
    def _moves(params: Sequence[Tensor], before: Sequence[Tensor]) -> list[Tensor]:
        return [p.detach() - w for p, w in zip(params, before, strict=True)]

    def _lengths(self, moves: Sequence[Tensor]) -> list[float]:
        if self.options["scope"] == "model":
            return [norm_of(moves)] * len(moves)
        return [norm_of([x]) for x in moves]

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """Create the states of the other method."""
        super().start_memory(params)
        if not params or self._other is None or len(self._other.param_groups) < len(self.param_groups):
            return  # the other groups are to come
        other = self.other
        if isinstance(other, RuleOptimizer):
            other.begin()
        elif not any(other.state.values()):
            rates = [group["lr"] for group in other.param_groups]
            for group in other.param_groups:
                group["lr"] = 0.0
            other.step()
            for group, lr in zip(other.param_groups, rates, strict=True):
                group["lr"] = lr
        self._keep(params)

    # saving -------------------------------------------------------------------------------------------------
    def _keep(self, params: Sequence[Tensor]) -> None:
        """The other method's states stand among those of the base, the very same tensors."""
        for p in params:
            for name, x in self.other.state.get(p, {}).items():
                if isinstance(x, (Tensor, int, float)):
                    self.memory[p][_KEPT + name] = x

    def on_loaded(self) -> None:
        """Give the other method what has been loaded."""
        super().on_loaded()
        other = self.other
        for group in other.param_groups:
            for p in group["params"]:
                found = {n.removeprefix(_KEPT): x for n, x in self.memory[p].items() if n.startswith(_KEPT)}
                on_device = isinstance(other, RuleOptimizer) or group.get("capturable") or group.get("fused")
                if isinstance(found.get("step"), Tensor) and not on_device:  # torch counts steps on the CPU
                    found["step"] = found["step"].cpu()
                other.state.pop(p, None)
                if found:
                    other.state[p] = found
        if isinstance(other, RuleOptimizer):
            other.forget()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_other": self._other}
