"""Mechanic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from optim_core.methods import hyper
from optim_core_wrappers.tuned import Tuned, inner


class Mechanic(Tuned):
    r"""Finds the learning rate of the base: scales all that it has done since the start by a number that it tunes.

    The base moves x to x' = x + u; x_0 are the first weights; one scale s_j for each discount beta_j of n, and S their
    sum; inner products and norms go over all parameters. In the form of the authors' PyTorch package::

        D = (x - x_0)/(S + eps)
        h = <D, g + s_decay S |g|/(|x'| + eps) x'>
        m = max(beta m, |h|);   v = beta^2 v + h^2;   r = max(0, beta r - s h)
        s = (s_init/n m + r)/(sqrt(v) + eps)
        x = x_0 + max(S, 0) (D + u)

    Leave the base's lr at 1, times a schedule if wanted. ``variant="optax"`` is the authors' JAX form, with which the
    paper's experiments were made: s begins with s_init, m with 0 (here 1e-6); h takes x before the step, is clipped to
    the old m where it enters r, and m = max(beta m, \|h\| + eps); r is cut only where it is used. They differ by some
    percent. ``store_delta`` keeps D instead of recovering it, which is exact while S is as small as eps, and needs one
    more tensor. Bases that go by the norm of the weights (LARS, LAMB) do not suit. The scale is one for the model, and
    needs the host to wait for three numbers a step.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        >>> optimizer = Mechanic(torch.optim.SGD([weight], lr=1.0), s_init=1e-4)
        >>> losses = [float(optimizer.minimize(lambda: weight.square().sum())) for _ in range(60)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Cutkosky, Defazio and Mehta, Mechanic: A Learning Rate Tuner, 2023, Algorithm 1,
    https://arxiv.org/abs/2306.00144, in the form of the authors' code, which differs from it as said.
    """

    s_decay: float = hyper(0.01, "pull towards the start, as a share of the gradient", ge=0)
    s_init: float = hyper(1e-8, "a scale that is certainly too small", gt=0)
    store_delta: bool = hyper(False, "keep the sum of updates instead of recovering it from the weights")
    variant: str = hyper("torch", "which of the authors' two programs", choices=("torch", "optax"))

    @property
    def keeps(self) -> tuple[str, ...]:  # type: ignore[override]  # as an option says
        """The start, and the sum if it is kept."""
        return ("ref", "delta") if self.options["store_delta"] else ("ref",)

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """Where the weights began, and the sum."""
        super().start_memory(params)
        for p in params if self.options["store_delta"] else ():
            if "delta" not in self.memory[p]:
                self.memory[p]["delta"] = self.ref(p).new_zeros(self.ref(p).shape)

    def begin_tuners(self) -> dict[str, list[float]]:
        """As the variant has them."""
        n, optax = len(self.options["betas"]), self.options["variant"] == "optax"
        s, m = (self.options["s_init"], 0.0) if optax else (0.0, 1e-6)
        return {"s": [s] * n, "r": [0.0] * n, "m": [m] * n, "v": [0.0] * n}

    def tuned_step(self, params: Sequence[Tensor]) -> None:
        """The formulas above."""
        old = self.scale
        summed = [self._summed(p, old) for p in params]
        gradients: list[Any] = [p.grad for p in params]
        h, g_norm = inner(zip(summed, gradients, strict=True)), math.sqrt(inner(zip(gradients, gradients, strict=True)))
        before = [p.detach().clone() for p in params]
        super(Tuned, self).apply()
        x = before if self.options["variant"] == "optax" else params
        if self.options["s_decay"]:
            x_norm = math.sqrt(inner(zip(x, x, strict=True)))
            pull = self.options["s_decay"] * old * g_norm / (x_norm + self.options["eps"])
            h += pull * inner(zip(summed, x, strict=True))
        self._tune(h)
        scale = self.scale if self.options["variant"] == "optax" else max(self.scale, 0.0)
        for p, delta, w in zip(params, summed, before, strict=True):
            new = delta + (p.detach() - w)
            if self.options["store_delta"]:
                self.memory[p]["delta"].copy_(new)
            self.place(p, new, scale)

    def _summed(self, p: Tensor, scale: float) -> Tensor:
        return self.memory[p]["delta"].clone() if self.options["store_delta"] else self.moved(p, scale)

    def _tune(self, h: float) -> None:
        """The tuners' part; h turns its sign in the optax variant, whose sum is what is taken away."""
        optax, eps = self.options["variant"] == "optax", self.options["eps"]
        share = self.options["s_init"] / len(self.options["betas"])
        columns = (self.options["betas"], *(self.tuners[name] for name in ("s", "r", "m", "v")))
        rows = []
        for beta, s, r, m, v in zip(*columns, strict=True):
            reward = beta * r - s * (min(m, max(-m, h)) if optax else h)
            largest = max(beta * m, abs(h) + (eps if optax else 0.0))
            squares = beta * beta * v + h * h
            wealth = share * largest + max(0.0, reward)
            rows.append((wealth / (math.sqrt(squares) + eps), reward if optax else max(0.0, reward), largest, squares))
        for name, values in zip(("s", "r", "m", "v"), zip(*rows, strict=True), strict=True):
            self.tuners[name] = list(values)
