"""SNOO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from optim_core.methods import hyper, memory_dtype
from optim_core.optimizers import parameters
from optim_core.wrapping import Wrapper


class Snoo(Wrapper):
    """Every k steps of the base, takes what they did as a gradient, and steps with Nesterov momentum from there.

    With s the slow weights, which begin as the weights before the first step, and b their momentum::

        delta = s - w
        b = outer_momentum b + delta
        s = s - outer_lr (delta + outer_momentum b)
        w = s

    With outer_momentum = 0 that is Lookahead, with outer_lr = 1 besides the base itself; it is DiLoCo with one worker.
    In the long run it goes outer_lr / (1 - outer_momentum) times as far as the base, whose lr can be smaller. Evaluate
    right after an outer step. ``first_sync="at_once"`` has outer steps after steps 1, k + 1, 2k + 1, ..., which is what
    the authors' record does; the paper waits for k. The base's states are left alone. A schedule acts on the base's lr.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = Snoo(torch.optim.SGD([weight], lr=0.25), k=1, outer_lr=1.0, outer_momentum=0.5)
        >>> _ = optimizer.minimize(lambda: weight.square().sum())
        >>> weight.item()  # delta is 0.5, and the step 1.5 times that
        0.25

    Source: Kallusky et al., SNOO: Step-K Nesterov Outer Optimizer, 2025, https://arxiv.org/abs/2510.15830, Algorithm 1;
    momentum without lr inside, as in torch's SGD.
    """

    elementwise: ClassVar[bool] = True

    outer_lr: float = hyper(0.7, "step size on what k steps did", gt=0, search=(0.3, 1.0))
    outer_momentum: float = hyper(0.6, "Nesterov momentum", ge=0, lt=1)
    k: int = hyper(30, "steps of the base per outer step", ge=1)
    first_sync: str = hyper("after_k", "the first outer step: after k, or 1", choices=("after_k", "at_once"))

    keeps = ("slow", "outer_momentum_buffer")

    def on_wrap(self) -> None:
        """Count steps from here."""
        super().on_wrap()
        self.counters["steps"] = 0

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The slow weights, and their momentum."""
        super().start_memory(params)
        for p in params:
            if "slow" not in self.memory[p]:
                now = p.detach().to(memory_dtype(p), copy=True)
                self.memory[p]["slow"], self.memory[p]["outer_momentum_buffer"] = now, torch.zeros_like(now)

    def apply(self) -> None:
        """A step of the base, and an outer one where it is due."""
        if not self.counters["steps"]:  # the weights may have been loaded since the memory was created
            for p in parameters(self):
                self.memory[p].pop("slow", None)
        self.start_memory(parameters(self))
        super().apply()
        due = self.counters["steps"] if self.options["first_sync"] == "at_once" else self.counters["steps"] + 1
        self.counters["steps"] += 1
        if due % self.options["k"]:
            return
        for p in parameters(self):
            slow, buffer = self.memory[p]["slow"], self.memory[p]["outer_momentum_buffer"]
            delta = slow - p.detach()
            buffer.mul_(self.options["outer_momentum"]).add_(delta)
            slow.sub_(delta.add_(buffer, alpha=self.options["outer_momentum"]), alpha=self.options["outer_lr"])
            p.copy_(slow)
