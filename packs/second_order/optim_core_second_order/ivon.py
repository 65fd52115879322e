"""IVON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optim_core import extra, hyper, state
from optim_core.errors import ClosureError
from optim_core.methods import real
from optim_core.optimizers import Evaluations, count_passes, parameters, put
from optim_core.rules import Value, clamp, lerp, square
from optim_core_second_order.noise import WithNoise


class IVON(WithNoise):
    """Learns a normal distribution of the weights: the parameters are its means, and each step draws from it.

    With d the weight_decay, N the effective sample size ``ess``; g' the gradient at p + e, e = z / sqrt(N (h + d)),
    z normal noise; A and B means over ``mc_samples`` draws::

        A = mean of g';   B = mean of e g'                      "price";  "gradsq": mean of g'^2
        f = N B (h + d)                                         "gradsq": N B
        m = beta1 m + (1 - beta1) A                             starts at 0
        h' = beta2 h + (1 - beta2) f + (1 - beta2)^2 / 2 (h - f)^2 / (h + d)        starts at hess_init
        a = lr (hess_init + d)                                  lr alone without rescale_lr
        p = p - a clip((m / (1 - beta1^t) + d p) / (h' + d), -clip_radius, clip_radius)

    h' + d stays above 0 by its last term, though f may be negative. The loss is evaluated at drawn weights, once for
    each draw, so ``minimize(closure)`` or ``step(closure)``, and what they return is the mean over the draws; the
    parameters themselves come back bit by bit. Statistics of batch normalisation are those of drawn weights. To
    predict, use the means, or average over some draws ``p + optimizer.perturbation(p)``.

    Set ``ess`` to the number of training examples; more makes the distribution narrower. All ranks of a distributed
    training draw the same. Written from the paper alone, whose authors' code is under the GPL.

    Raises:
        ClosureError: in a step without a closure, or with one that adds to gradients that were there before.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = IVON([w], lr=0.1, ess=1000.0)
        >>> losses = [float(optimizer.minimize(lambda: w.square().sum())) for _ in range(40)]
        >>> losses[-1] < 0.1 * losses[0]
        True

    Source: Shen et al., Variational Learning is Effective for Large Deep Networks, 2024, Algorithm 1,
    https://arxiv.org/abs/2402.17641.
    """

    lr: float = hyper(0.1, "step size", ge=0, search=(1e-2, 1.0))
    ess: float = hyper(5e4, "effective sample size: the number of training examples", gt=0)
    hess_init: float = hyper(1.0, "first h", ge=0)
    betas: tuple[float, float] = hyper((0.9, 0.99999), "decay of m and of h", ge=0, lt=1)
    weight_decay: float = hyper(1e-4, "precision of the prior, by ess", gt=0)
    mc_samples: int = hyper(1, "draws in a step", ge=1, common=True)
    hess_approx: str = hyper("price", "what estimates the curvature", choices=("price", "gradsq"), common=True)
    clip_radius: float = hyper(math.inf, "largest element of the preconditioned step", gt=0)
    debias: bool = hyper(True, "correct m as Adam does")
    rescale_lr: bool = hyper(True, "multiply lr by hess_init + weight_decay")

    estimate = extra("B")
    momentum = state("average of the gradients")
    hess = state("average of the curvature", start="hess_init")

    needs = frozenset({"closure"})

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        self._estimates: Mapping[Tensor, Tensor] | None = None

    def on_group(self, group: dict[str, Any]) -> None:
        """Count what accumulates in gradients."""
        super().on_group(group)
        count_passes(group["params"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the distribution from the gradients at drawn weights."""
        if closure is None and self._estimates is None:
            raise ClosureError(
                f"{self.method.name} evaluates the loss at drawn weights: use optimizer.minimize(closure), or "
                "step(closure) with a closure that zeroes the gradients, computes the loss and calls backward"
            )
        loss = super().step(closure)
        self._estimates = None
        return loss

    @torch.no_grad()
    def perturbation(self, p: Tensor) -> Tensor:
        """A draw of the weights' distance from their means; for a complex parameter in pairs of real numbers."""
        group = next(group for group in self.param_groups if any(p is q for q in group["params"]))
        h = self.state[p]["hess"] if p in self.state else group["hess_init"]
        return self.draw(p) / (group["ess"] * (h + group["weight_decay"])) ** 0.5  # type: ignore[no-any-return]

    def collect(self, run: Callable[[], Any]) -> Any:
        """The mean gradient at drawn weights, for p.grad, and the estimate of the curvature."""
        self._estimates = None  # an evaluation that fails leaves none
        self.follow_parameters()
        inner = super().collect
        evaluations = Evaluations(self, lambda: inner(run), self.method.name)
        n = int(self.param_groups[0]["mc_samples"])
        drawing = [p for p in parameters(self) if p.requires_grad and p.numel()]
        losses: list[Any] = []
        gradients: dict[Tensor, Any] = {}
        estimates: dict[Tensor, Any] = {}
        for k in range(n):
            noise = {p: self.perturbation(p) for p in drawing}
            losses.append(self._loss_at(noise, evaluations.alone if k else evaluations.anew))
            for p, e in noise.items():
                if p.grad is not None:
                    gradients[p] = p.grad if n == 1 else gradients.get(p, 0) + p.grad.detach() / n
                    estimates[p] = estimates.get(p, 0) + self._estimate(p, e) / n
        put(self, [gradients.get(p) for p in parameters(self)])
        self._estimates = estimates
        return losses[0] if n == 1 else sum(losses) / n

    def _loss_at(self, noise: Mapping[Tensor, Tensor], evaluate: Callable[[], Any]) -> Any:
        """The loss at drawn weights, whose gradients are left; the parameters come back bit by bit."""
        means = [p.detach().clone() for p in noise]
        try:
            with torch.no_grad():
                for p, e in noise.items():
                    real(p).add_(e)
            return evaluate()
        finally:
            with torch.no_grad():
                for p, mean in zip(noise, means, strict=True):
                    p.copy_(mean)

    def _estimate(self, p: Tensor, e: Tensor) -> Tensor:
        """e g', or g' squared, of one draw."""
        g = real(p.grad.detach()).to(e.dtype)  # type: ignore[union-attr]
        if self.param_groups[0]["hess_approx"] == "gradsq":
            return g.square()
        ascending = any(p is q for group in self.param_groups if group["maximize"] for q in group["params"])
        return -e * g if ascending else e * g

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The estimate of the curvature."""
        found = self._estimates
        return {} if found is None else {"estimate": [found[p] for p in params]}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        estimate: Value | None,
        momentum: Value,
        hess: Value,
        *,
        lr: Value,
        ess: Value,
        hess_init: Value,
        betas: tuple[Value, Value],
        weight_decay: Value,
        hess_approx: str,
        clip_radius: Value,
        debias: bool,
        rescale_lr: bool,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        if estimate is None:
            return p, momentum, hess
        (beta1, beta2), d = betas, weight_decay
        f = ess * estimate * (hess + d) if hess_approx == "price" else ess * estimate
        m = lerp(g, momentum, beta1)
        h = lerp(f, hess, beta2) + 0.5 * (1 - beta2) ** 2 * square(hess - f) / (hess + d)
        u = ((m / (1 - beta1**step) if debias else m) + d * p) / (h + d)
        if clip_radius < math.inf:
            u = clamp(u, -clip_radius, clip_radius)
        return p - (lr * (hess_init + d) if rescale_lr else lr) * u, m, h
