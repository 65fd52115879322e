"""Lookahead."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from optim_core.errors import WrapperConflict
from optim_core.methods import hyper, tensors_of
from optim_core.optimizers import RuleOptimizer, parameters
from optim_core.wrapping import Wrapper


class Lookahead(Wrapper):
    r"""Every k steps of the base, moves slow weights part of the way to the fast ones, and restarts from there.

    .. math:: \phi \leftarrow \phi + \alpha (\theta_k - \phi), \qquad \theta \leftarrow \phi

    The slow weights start as the weights before the first step (the paper's Algorithm 1), and the first
    synchronisation is after step k; several ports start them later. Slow weights and counter are part of the state
    dict.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = Lookahead(torch.optim.SGD([weight], lr=0.5), k=1, alpha=0.5)
        >>> _ = optimizer.minimize(lambda: weight.square().sum())
        >>> weight.item()  # half of the way from 1 to 0
        0.5

    Source: Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, 2019, https://arxiv.org/abs/1907.08610,
    Algorithm 1; ``pullback_momentum`` from the authors' code.
    """

    elementwise: ClassVar[bool] = True

    k: int = hyper(5, "steps of the base between two synchronisations", ge=1)
    alpha: float = hyper(0.8, "share of the way that the slow weights go", gt=0, le=1)
    pullback_momentum: str = hyper(
        "none",
        "what becomes of the base's momentum_buffer: 'reset' to zero, or 'pullback' like the weights",
        choices=("none", "reset", "pullback"),
    )

    keeps = ("slow",)

    def on_wrap(self) -> None:
        """Refuse to change a momentum that the base does not keep.

        Raises:
            WrapperConflict: the base keeps no ``momentum_buffer``.
        """
        super().on_wrap()
        self.counters["steps"] = 0
        treatment, inner = self.options["pullback_momentum"], self.innermost
        keeps_one = (
            "momentum_buffer" in inner.states if isinstance(inner, RuleOptimizer) else "momentum" in inner.defaults
        )
        if treatment != "none" and not keeps_one:
            raise WrapperConflict(
                f"Lookahead: pullback_momentum={treatment!r} acts on a momentum_buffer, which {type(inner).__name__} "
                "does not keep: leave it at 'none'"
            )

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The slow weights."""
        super().start_memory(params)
        for p in params:
            if "slow" not in self.memory[p]:
                self.memory[p]["slow"] = p.detach().clone()

    def apply(self) -> None:
        """A step of the base, and a synchronisation after every k."""
        if not self.counters["steps"]:  # the weights may have been loaded since the memory was created
            for p in parameters(self):
                self.memory[p].pop("slow", None)
        self.start_memory(parameters(self))
        super().apply()
        self.counters["steps"] += 1
        if self.counters["steps"] % self.options["k"] == 0:
            for p in parameters(self):
                self._pull(p, self.memory[p], "slow")
                self._treat_momentum(p)

    def _pull(self, fast: Tensor, memory: MutableMapping[str, Tensor], name: str) -> None:
        memory[name].lerp_(fast.detach().to(memory[name].dtype), self.options["alpha"])
        fast.copy_(memory[name])

    def _treat_momentum(self, p: Tensor) -> None:
        if self.options["pullback_momentum"] == "none":
            return
        for i, buffer in enumerate(tensors_of(self.state.get(p, {}), "momentum_buffer")):
            if buffer is None:  # torch's SGD before its first step with this parameter
                continue
            if self.options["pullback_momentum"] == "reset":
                buffer.zero_()
            else:
                name = f"slow_momentum_{i}"
                self.memory[p].setdefault(name, torch.zeros_like(buffer))
                self._pull(buffer, self.memory[p], name)
