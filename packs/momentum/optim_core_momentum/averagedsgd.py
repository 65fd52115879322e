"""AveragedSGD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, hyper, l2, state
from optim_core.errors import NotTraining
from optim_core.methods import real
from optim_core.rules import Value, maximum


class AveragedSGD(RuleOptimizer):
    """SGD under a falling step size, with an average of its weights from some step on (Polyak and Ruppert).

    With eta = lr and mu = 1 at first, in step t::

        p   = p (1 - lambd eta) - eta (g + weight_decay p)
        ax  = ax + mu (p - ax)
        eta = lr / (1 + lambd lr t)^alpha;   mu = 1 / max(1, t - t0)                for the next step

    So it is ``torch.optim.ASGD``, whose name is another method's here: ``asgd`` is adaptive gradient descent. Until
    step t0, a million by default, ax is p itself; t0 after an epoch or two is what the average is for. A new lr acts
    from the step after next on. ``optimizer.eval()`` has the parameters hold ax, exactly, and ``optimizer.train()`` p
    again; ``minimize`` goes back to training by itself, ``step()`` raises until then. torch's class leaves it to the
    user to read ax.

    Raises:
        NotTraining: by step(), in eval mode.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = AveragedSGD([w], lr=0.25, lambd=0.0, t0=0)
        >>> for _ in range(3):
        ...     loss = optimizer.minimize(lambda: w.square().sum())
        >>> optimizer.eval()
        >>> w.item()  # the mean of 0.25 and 0.125
        0.1875

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992,
    https://doi.org/10.1137/0330046; in the form of torch.optim.ASGD.
    """

    lr: float = hyper(1e-2, "step size at first", ge=0, search=(1e-2, 1.0))
    lambd: float = hyper(1e-4, "decay of the weights, and pace at which the step size falls", ge=0)
    alpha: float = hyper(0.75, "exponent of that", ge=0)
    t0: float = hyper(1e6, "the step from which on weights are averaged")
    weight_decay: float = l2(0.0)

    ax = state("average of the weights")
    eta = state("the present step size", start="lr", level="tensor")

    @staticmethod
    def rule(
        p: Value, g: Value, ax: Value, eta: Value, *, lr: Value, lambd: Value, alpha: Value, t0: Value, step: Value
    ) -> tuple[Value, ...]:
        """The update above."""
        p = p * (1 - lambd * eta) - eta * g
        mu = 1 / maximum(1.0, step - 1 - t0)
        average = p if mu == 1 else ax + mu * (p - ax)
        return p, average, lr / (1 + lambd * lr * step) ** alpha + 0 * eta

    def on_group(self, group: dict[str, Any]) -> None:
        """Join in the mode of the others."""
        super().on_group(group)
        group["training"] = all(g.get("training", True) for g in self.param_groups)

    @property
    def training(self) -> bool:
        """True if the parameters hold the weights themselves."""
        return all(group["training"] for group in self.param_groups)

    def train(self) -> None:
        """Have the parameters hold the weights; no effect if they do already."""
        self._exchange(training=True)

    def eval(self) -> None:
        """Have the parameters hold the average; no effect if they do already."""
        self._exchange(training=False)

    @torch.no_grad()
    def _exchange(self, *, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] is training:
                continue
            for p in group["params"]:
                ax = self.state[p].get("ax") if p in self.state else None
                if isinstance(ax, Tensor) and self.state[p]["step"]:
                    here = real(p.detach())
                    now = here.to(ax.dtype, copy=True)
                    here.copy_(ax)
                    ax.copy_(now)
            group["training"] = training

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave gradients at the weights."""
        self.train()
        return super().collect(run)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients.

        Raises:
            NotTraining: in eval mode, without a closure.
        """
        if closure is None:
            self._check_training()
        return super().step(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """Refuse gradients that were taken at the average."""
        self._check_training()
        return super().prepare(overflow)

    def _check_training(self) -> None:
        if not self.training:
            raise NotTraining(
                f"{self.method.name}: step() after eval(): the parameters hold the average, and so the gradients are "
                "not those of the weights. Call optimizer.train() before the forward pass, or use "
                "optimizer.minimize(closure), which returns to them by itself"
            )
