"""Bayesian SAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, extra, hyper, state
from optim_core.errors import ClosureError
from optim_core.methods import real
from optim_core.optimizers import Evaluations, GlobalStreams, count_passes, parameters
from optim_core.rules import Value, lerp, sqrt


class BSAM(RuleOptimizer):
    """SAM as variational Bayes: learns a variance for each weight along with it, with Adam-like steps.

    The weights p are means, 1 / (num_data s) their variances. In each step, on one batch, z normal noise::

        g = gradient at p + z / sqrt(num_data s)
        h = gradient at p + rho g / s
        m = beta1 m + (1 - beta1) (h + weight_decay p)
        p = p - lr m / s
        s = beta2 s + (1 - beta2) (sqrt(s) |g| + damping + weight_decay)          with the s of before

    **Give num_data, the number of training examples**, and weight_decay as the precision of the prior over num_data (it
    is a part of the model: not to be decoupled). s is of the size of g^2 + damping and is not rooted, so lr is of
    the size of 1. Nothing is normalised by the length of g, as SAM does. To predict, average over weights drawn with
    the variances; p alone is the mean.

    ``minimize(closure)`` and ``step(closure)`` evaluate twice and return **the second loss**, which is descended. Both
    see the same random numbers, such as masks of dropout. The authors average |g| and h over sub-batches, each with
    noise of its own; here a batch is one. A closure that does not zero gradients (Lightning's, with
    ``accumulate_grad_batches``) is noticed: the last micro-batch stands for the others then.

    The authors' code is under GPL-3.0; this is written from the formulas. pytorch-optimizer's leaves noise and
    excursion in the weights, and departs in the variance of the noise, the decay and the update of s.

    Raises:
        ClosureError: in a step without a closure.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = BSAM([w], num_data=1e12, lr=0.5, betas=(0.0, 0.999), rho=0.0, weight_decay=0.0)
        >>> loss = optimizer.minimize(lambda: 0.5 * w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.5, -1.0]

    Source: Möllenhoff and Khan, SAM as an Optimal Relaxation of Bayes, 2022, Algorithm 1 (bSAM),
    https://arxiv.org/abs/2210.01620.
    """

    num_data: float = hyper(50_000.0, "number of training examples: the noise has the variance 1/(num_data s)", gt=0)
    lr: float = hyper(0.5, "step size", ge=0, search=(1e-3, 1.0))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages m and s", ge=0, lt=1)
    weight_decay: float = hyper(1e-4, "precision of the prior, over num_data", ge=0)
    rho: float = hyper(0.05, "length of the excursion, times g / s", ge=0)
    damping: float = hyper(0.1, "added in the update of s", ge=0)
    s_init: float = hyper(1.0, "first s", gt=0)

    noisy_grad = extra("g, at the noisy weights")
    s = state("precision of each weight, over num_data", start="s_init")
    exp_avg = state("m, average of h with decay")

    needs = frozenset({"closure"})
    random = True

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        self._noisy: Mapping[Tensor, Tensor] | None = None

    def on_group(self, group: dict[str, Any]) -> None:
        """Count what accumulates in gradients."""
        super().on_group(group)
        count_passes(group["params"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Evaluate twice and update the parameters; returns the second loss."""
        if closure is None and self._noisy is None:
            raise ClosureError(
                f"{self.method.name} evaluates the loss twice a step: use optimizer.minimize(closure), or "
                "step(closure) with a closure that zeroes the gradients, computes the loss and calls backward"
            )
        loss = super().step(closure)
        self._noisy = None
        return loss

    def collect(self, run: Callable[[], Any]) -> Any:
        """g, kept for the step, and h, left in the parameters."""
        self._noisy = None  # an evaluation that fails leaves none
        self.follow_parameters()
        inner = super().collect
        evaluations = Evaluations(self, lambda: inner(run), self.method.name)
        streams = GlobalStreams(parameters(self))
        with self._away() as places:
            places.move({p: (self._precision(p, of) * of["num_data"]) ** -0.5 * self.draw(p) for p, of in places})
            evaluations.anew()
            noisy = {p: p.grad.detach().clone() for p, _ in places if p.grad is not None}
            places.move({p: of["rho"] * real(noisy[p]) / self._precision(p, of) for p, of in places if p in noisy})
            with streams.again():
                loss = evaluations.alone()
        self._noisy = noisy
        return loss

    def _precision(self, p: Tensor, group: Mapping[str, Any]) -> Any:
        return self.state.get(p, {}).get("s", group["s_init"])

    @contextmanager
    def _away(self) -> Iterator[_Places]:
        places = _Places(self.param_groups)
        try:
            yield places
        finally:
            places.move({})

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """g; zeros for a parameter that has a gradient only on the excursion."""
        noisy = self._noisy or {}
        return {"noisy_grad": [noisy[p] if p in noisy else torch.zeros_like(p) for p in params]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        noisy_grad: Value | None,
        s: Value,
        exp_avg: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        weight_decay: Value,
        damping: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if noisy_grad is None:
            return p, s, exp_avg
        beta1, beta2 = betas
        exp_avg = lerp(g + weight_decay * p, exp_avg, beta1)
        return p - lr * exp_avg / s, lerp(sqrt(s) * abs(noisy_grad) + damping + weight_decay, s, beta2), exp_avg


class _Places:
    """The parameters of some groups, which may be elsewhere for a time."""

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        self._home = {p: (p.detach().clone(), group) for group in groups for p in group["params"]}

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        return ((p, group) for p, (_, group) in self._home.items())

    @torch.no_grad()
    def move(self, by: Mapping[Tensor, Tensor]) -> None:
        """Have each parameter be at home, or as far from there as ``by`` says."""
        for p, (home, _) in self._home.items():
            real(p).copy_(real(home) + by[p] if p in by else real(home))
