"""The common part of wrappers that keep averages of the weights: exchanging both, and a running average."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.errors import NotTraining
from optim_core.methods import memory_dtype
from optim_core.optimizers import parameters
from optim_core.rules import Transform, Value, lerp
from optim_core.wrapping import Wrapper


class Averaging(Wrapper):
    """Keeps an average of the weights, to evaluate with; training goes on as without it.

    Subclasses say what :meth:`average_of` a parameter is. Weights and average are exchanged exactly.

    Raises:
        NotTraining: by ``step()`` while the parameters hold the average.
    """

    elementwise: ClassVar[bool] = True
    acts_after: ClassVar[bool] = True

    def on_wrap(self) -> None:
        """Begin with the weights."""
        super().on_wrap()
        self.counters.update(steps=0, averaged=0)

    @abstractmethod
    def average_of(self, p: Tensor) -> Tensor | None:
        """What a parameter holds when it is evaluated; None if there is no average yet."""

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse gradients that were taken at the average."""
        if self.counters["averaged"]:
            raise NotTraining(
                f"{self.method.name}: step() after eval(): the parameters hold the average, and the gradients are not "
                "those of the weights. Call optimizer.train() before the forward pass, or use "
                "optimizer.minimize(closure)"
            )
        return super().prepare(overflow)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the parameters hold the average for the time of a ``with``."""
        before = self.counters["averaged"]
        self.eval()
        try:
            yield
        finally:
            if not before:
                self.train()

    def eval(self) -> None:
        """Have the parameters hold the average; without effect if they do."""
        super().eval()
        self._exchange(averaged=1)

    def train(self) -> None:
        """Have the parameters hold the weights; without effect if they do."""
        self._exchange(averaged=0)
        super().train()

    @torch.no_grad()
    def _exchange(self, averaged: int) -> None:
        if self.counters["averaged"] == averaged:
            return
        for p in parameters(self):
            memory = self.memory[p]
            if averaged:
                average = self.average_of(p)
                if average is not None:
                    memory["weights"] = p.detach().clone()
                    p.copy_(average)
            elif "weights" in memory:
                p.copy_(memory.pop("weights"))
        self.counters["averaged"] = averaged

    def collect(self, run: Callable[[], Any]) -> Any:
        """Gradients at the weights themselves."""
        self.train()
        return super().collect(run)


@dataclass(frozen=True)
class Average(Transform):
    """ema = b ema + (1 - b) p."""

    keeps = ("ema",)
    numbers = ("ema_decay",)

    def keep(self, new_p: Value, old: Sequence[Value], options: Mapping[str, Any]) -> Sequence[Value]:
        """The average after the step."""
        return [lerp(new_p, old[0], options["ema_decay"])]


class RunningAverage(Averaging):
    """ema = b ema + (1 - b) p after each step; subclasses give b by :meth:`share_kept`.

    Around a RuleOptimizer the average is composed with the rule and costs no pass over memory.
    """

    keeps = ("ema",)

    @abstractmethod
    def share_kept(self, steps: int) -> float:
        """b, so many steps after the first; 0 makes the average the weights themselves."""

    def average_of(self, p: Tensor) -> Tensor | None:
        """The running average."""
        return self.memory[p].get("ema")

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The average, which begins anew with the first step."""
        super().start_memory(params)
        for p in params:
            if "ema" not in self.memory[p]:
                self._follow(p, 0.0)

    def on_wrap(self) -> None:
        """Compose with the rule, if nothing between changes the weights after it."""
        super().on_wrap()
        self._composed = self.base_steps.compose(Average(), self)

    def numbers(self) -> Mapping[str, float]:
        """b of this step."""
        return {"ema_decay": self.share_kept(self.counters["steps"])}

    def apply(self) -> None:
        """A step of the base, and of the average."""
        super().apply()
        decay = self.numbers()["ema_decay"]
        self.counters["steps"] += 1
        for p in parameters(self):
            if p.grad is None or not self._composed or not p.numel():
                self._follow(p, decay)

    def _follow(self, p: Tensor, decay: float) -> None:
        memory = self.memory[p]
        now = p.detach().to(memory_dtype(p))
        if "ema" in memory:
            memory["ema"].lerp_(now, 1 - decay)
        else:
            memory["ema"] = now.clone()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_composed": self._composed}
