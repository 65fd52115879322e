"""SVRG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog import Need
from optim_core.errors import InvalidOption
from optim_core.methods import argument, hyper, memory_dtype
from optim_core.optimizers import Evaluations, GlobalStreams, count_passes, parameters, put, taken
from optim_core.wrapping import Wrapper


class SVRG(Wrapper):
    """Takes the noise of mini-batches out of gradients, by that of the same batch at a snapshot of the weights.

    Every ``period`` steps the weights are kept as s, and the gradient of the loss of all data is taken there. With f
    the loss of a mini-batch, F that of all data::

        g = f'(p) - f'(s) + F'(s)

    So g has the same mean, and a noise that vanishes as p and s come to the same point: a constant lr converges. The
    method is for finite sums with some thousand terms, convex ones above all; in deep networks with data augmentation,
    dropout or batch normalisation s is soon too far away for it to pay. A period of one or two epochs is usual.

    ``full_loss`` is a closure as for ``minimize``: it computes and returns the loss of all data, or yields it in parts
    whose sum it is. Each step evaluates its batch twice, with the same random numbers, each ``period``-th step all
    data besides: ``minimize(closure)`` or ``step(closure)``, whose closure has to stay with its batch. Snapshot and
    gradient, two tensors per parameter, are in the state dict.

    Raises:
        InvalidOption: ``full_loss`` cannot be called.
        ClosureError: by a step with a closure that adds to gradients that were there before.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([0.0]))
        >>> data = [1.0, 2.0, 3.0]
        >>> def loss_of(xs):
        ...     return sum((weight - x).square().sum() for x in xs) / len(xs)
        >>> base = torch.optim.SGD([weight], lr=0.25)
        >>> optimizer = SVRG(base, full_loss=lambda: loss_of(data), period=3)
        >>> for x in data:
        ...     _ = optimizer.minimize(lambda: loss_of([x]))
        >>> weight.item()  # each step goes half of the way to the mean
        1.75

    Source: Johnson and Zhang, Accelerating Stochastic Gradient Descent using Predictive Variance Reduction, 2013,
    Figure 1 with option I, https://papers.nips.cc/paper/2013/hash/ac1dd209cbcc5e5d1c6e28598e8cbbe8-Abstract.html.
    """

    period: int = hyper(1000, "steps from one snapshot to the next", ge=1)

    if TYPE_CHECKING:  # an argument without a default: no attribute of the class
        full_loss: Callable[[], Any] = argument(kw_only=True)
    arguments: ClassVar[tuple[str, ...]] = ("full_loss",)
    needs: ClassVar[frozenset[Need]] = frozenset({"closure"})
    refuses: ClassVar[Mapping[Need, str]] = {
        "create_graph": "differentiates the gradients, and those of several points together have no graph; use a "
        "first-order method such as sgd"
    }
    keeps = ("snapshot", "full_gradient")

    def on_wrap(self) -> None:
        """Count steps from here."""
        if not callable(self.full_loss):
            raise InvalidOption(f"{self.method.name}: full_loss={self.full_loss!r:.60} is no closure for all data")
        super().on_wrap()
        self.counters["steps"] = 0

    def on_group(self, group: dict[str, Any]) -> None:
        """Count what accumulates in gradients."""
        super().on_group(group)
        count_passes(group["params"])

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The snapshot, and the gradient there; both are of nothing until a step takes them."""
        super().start_memory(params)
        for p in params:
            if "snapshot" not in self.memory[p]:
                self.memory[p]["snapshot"] = p.detach().clone()
                self.memory[p]["full_gradient"] = torch.zeros_like(p, dtype=memory_dtype(p))

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave gradients without the noise of their batch, at each point at which the base takes some."""
        if self.counters["steps"] % self.options["period"] == 0:
            self._look_at_all()
        return super().collect(lambda: self._reduced(run))

    def _look_at_all(self) -> None:
        """Take the snapshot."""
        self.evaluate(self.full_loss)
        params = [p for p in parameters(self) if p.grad is not None]
        self.start_memory(params)
        for p in params:
            self.memory[p]["snapshot"].copy_(p.detach())
            self.memory[p]["full_gradient"].copy_(p.grad.detach() if p.grad is not None else 0.0)
        taken(self)

    def _reduced(self, run: Callable[[], Any]) -> Any:
        params, streams = parameters(self), GlobalStreams(parameters(self))
        evaluations = Evaluations(self, run, self.method.name)
        loss = evaluations.anew()
        here, gradients = [p.detach().clone() for p in params], taken(self)
        try:
            self._place([self.memory[p].get("snapshot", x) for p, x in zip(params, here, strict=True)])
            with streams.again():
                evaluations.alone()
            there = taken(self)
        finally:
            self._place(here)
        put(self, [self._mixed(*each) for each in zip(params, gradients, there, strict=True)])
        return loss

    @torch.no_grad()
    def _place(self, values: Sequence[Tensor]) -> None:
        for p, x in zip(parameters(self), values, strict=True):
            p.copy_(x)

    @torch.no_grad()
    def _mixed(self, p: Tensor, here: Tensor | None, there: Tensor | None) -> Tensor | None:
        if "full_gradient" not in self.memory[p] or (here is None and there is None):
            return here
        g: Tensor = self.memory[p]["full_gradient"].clone()
        for x, sign in ((here, 1), (there, -1)):
            if x is not None:
                g.add_(x, alpha=sign)
        return g.to(p.dtype)

    def apply(self) -> None:
        """A step of the base, which counts."""
        self.start_memory([p for p in parameters(self) if p.grad is not None])
        super().apply()
        self.counters["steps"] += 1
