"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.errors import NotTraining
from optim_core.methods import hyper, memory_dtype
from optim_core.optimizers import parameters
from optim_core.rules import Transform, Value, lerp
from optim_core.wrapping import Wrapper


@dataclass(frozen=True)
class Average(Transform):
    """ema = b ema + (1 - b) p."""

    keeps = ("ema",)
    numbers = ("ema_decay",)

    def keep(self, new_p: Value, old: Sequence[Value], options: Mapping[str, Any]) -> Sequence[Value]:
        """The average after the step."""
        return [lerp(new_p, old[0], options["ema_decay"])]


class EMA(Wrapper):
    """Keeps a running average of the weights, to evaluate with; training goes on as without it.

    After step n, with k = max(0, n - update_after_step - 1)::

        b = 0 for k = 0, so that the average begins as the weights after a first step
        b = decay, or with use_warmup max(min(1 - (1 + k/warmup_gamma)^-warmup_power, decay), min_decay)
        ema = b ema + (1 - b) p

    ``with optimizer.averaged(): ...`` has the parameters hold the average; so do :meth:`eval` until :meth:`train`.
    ``minimize`` and ``step(closure)`` go back by themselves, a bare ``step()`` in between raises. Weights and average
    are exchanged exactly, and both are part of the state dict. The average is kept in float32 for weights of lower
    precision. Buffers (statistics of batch normalisation) are the model's affair: pass some batches through it in
    train mode before validating.

    Around a RuleOptimizer the average is composed with the rule and costs no pass over memory.

    Raises:
        NotTraining: by ``step()`` while the parameters hold the average.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = EMA(torch.optim.SGD([weight], lr=0.5), decay=0.5)
        >>> for _ in range(2):
        ...     _ = optimizer.minimize(lambda: 0.5 * weight.square().sum())
        >>> with optimizer.averaged():  # of 0.5 and 0.25, the weights after the two steps
        ...     weight.item()
        0.375
        >>> weight.item()
        0.25

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992,
    https://doi.org/10.1137/0330046; with exponential weights and a warm-up, as in timm's ModelEmaV3.
    """

    elementwise: ClassVar[bool] = True
    acts_after: ClassVar[bool] = True

    decay: float = hyper(0.9999, "share of the average that is kept in a step", ge=0, lt=1, search=(0.99, 0.9999))
    min_decay: float = hyper(0.0, "least share under warm-up", ge=0, lt=1)
    update_after_step: int = hyper(0, "steps during which the average is the weights themselves", ge=0)
    use_warmup: bool = hyper(False, "let the share grow from 0")
    warmup_gamma: float = hyper(1.0, "scale of the warm-up, in steps", gt=0)
    warmup_power: float = hyper(2 / 3, "exponent of the warm-up", gt=0)

    keeps = ("ema",)

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The average, which begins anew with the first step."""
        super().start_memory(params)
        for p in params:
            if "ema" not in self.memory[p]:
                self._follow(p, 0.0)

    def on_wrap(self) -> None:
        """Compose with the rule, if nothing between changes the weights after it."""
        super().on_wrap()
        self.counters.update(steps=0, averaged=0)
        self._composed = self.base_steps.compose(Average(), self)

    def numbers(self) -> Mapping[str, float]:
        """b of this step."""
        k = max(0, self.counters["steps"] - self.options["update_after_step"])
        if not k or not self.options["use_warmup"]:
            return {"ema_decay": float(self.options["decay"]) if k else 0.0}
        grown = 1 - (1 + k / self.options["warmup_gamma"]) ** -self.options["warmup_power"]
        return {"ema_decay": float(max(min(grown, self.options["decay"]), self.options["min_decay"]))}

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse gradients that were taken at the average."""
        if self.counters["averaged"]:
            raise NotTraining(
                "EMA: step() after eval(): the parameters hold the average, and the gradients are not those of the "
                "weights. Call optimizer.train() before the forward pass, or use optimizer.minimize(closure)"
            )
        return super().prepare(overflow)

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

    # evaluating ---------------------------------------------------------------------------------------------
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
            if "ema" not in memory:
                continue
            if averaged:
                memory["weights"] = p.detach().clone()
                p.copy_(memory["ema"])
            else:
                p.copy_(memory.pop("weights"))
        self.counters["averaged"] = averaged

    def collect(self, run: Callable[[], Any]) -> Any:
        """Gradients at the weights themselves."""
        self.train()
        return super().collect(run)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_composed": self._composed}
