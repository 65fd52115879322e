"""Sophia-G."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.methods import real
from optim_core.optimizers import Evaluations, check_dense, put, taken
from optim_core.rules import Value, clamp, lerp


class SophiaG(RuleOptimizer):
    """Sophia with the curvature of a cross-entropy, seen in gradients on labels that the model itself draws.

    With g' the gradient of the mean loss on bs labels drawn from the model's own softmax, every update_period steps::

        h = beta2 h + (1 - beta2) g'^2                  starts at 0
        m = beta1 m + (1 - beta1) g                     no bias correction of either
        p = p (1 - lr weight_decay) - lr clip(m / (rho bs h + 1e-15), -1, 1)

    Until the first estimate the step is lr sign(m). ``bs`` counts labels: batch size times sequence length.

    ``minimize`` and ``step(closure)`` begin every step that follows an estimate's turn with a second evaluation of the
    closure, during which ``sampling`` is true; ``labels`` then gives drawn labels in the place of those it is handed::

        def closure():
            logits = model(x)
            return F.cross_entropy(logits, optimizer.labels(logits, y))

    A closure that does not ask gets its ordinary gradient squared: an empirical Fisher matrix, not Sophia-G, though the
    safeguards are the same. In a loop of one's own, when ``needs_sample`` is true: backward of the loss on drawn
    labels, ``update_hessian()``, ``zero_grad()``, without clipping. Inside a wrapper for several losses g' is their
    merged gradient.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.zeros(2, 3))
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 2])
        >>> optimizer = SophiaG([w], lr=0.1, bs=2, update_period=2)
        >>> def closure():
        ...     logits = x @ w
        ...     return torch.nn.functional.cross_entropy(logits, optimizer.labels(logits, y))
        >>> [round(float(optimizer.minimize(closure)), 2) for _ in range(2)]
        [1.1, 0.97]

    Source: Liu et al., Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training, 2023,
    Algorithm 3 with the estimator of Algorithm 2, https://arxiv.org/abs/2305.14342; rho, bs and 1e-15 as in the
    authors' code (the paper has max(gamma h, 1e-12), gamma being rho).
    """

    lr: float = hyper(1e-4, "step size: the most that an element moves by", ge=0, search=(1e-5, 1e-2))
    betas: tuple[float, float] = hyper((0.965, 0.99), "decay of m; of h, from estimate to estimate", ge=0, lt=1)
    rho: float = hyper(0.04, "factor of h: the larger, the fewer elements are clipped", ge=0)
    weight_decay: float = decoupled(0.1)
    bs: int = hyper(5120, "labels behind the mean loss of an estimate", ge=1)
    update_period: int = hyper(10, "steps from one estimate to the next", ge=1, common=True)

    exp_avg = state("average of g")
    hessian = state("average of g' squared")
    last_estimate = state("steps done at the last estimate", level="whole")

    random = True

    def forget(self) -> None:
        """Drop what belongs to an evaluation."""
        super().forget()
        #: whether the closure is being evaluated for an estimate
        self.sampling = False

    @property
    def needs_sample(self) -> bool:
        """True if an estimate is due before the next step."""
        done = float(self.whole.get("last_estimate", 0))
        return self.whole_step - done >= int(self.param_groups[0]["update_period"])

    def labels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The labels for the loss at hand: those given, or, for an estimate, draws from the softmax of the logits.

        Args:
            logits: as cross_entropy takes them: classes in dimension 1, or in the only one.
            labels: class numbers; negative ones, which cross_entropy ignores, stay.
        """
        if not self.sampling:
            return labels
        classes = logits.detach().movedim(min(1, logits.ndim - 1), -1)
        chances = classes.float().softmax(-1).reshape(-1, classes.shape[-1])
        drawn = torch.multinomial(chances, 1, generator=self.generator(logits.device)).reshape(labels.shape)
        return torch.where(labels < 0, labels, drawn)

    def collect(self, run: Callable[[], Any]) -> Any:
        """Take an estimate if one is due, then leave the gradients of the step."""
        if self.needs_sample:
            inner, earlier = super().collect, taken(self)  # which a closure may add to, in the evaluation to come
            self.sampling = True
            try:
                Evaluations(self, lambda: inner(run), self.method.name).alone()
            finally:
                self.sampling = False
            self.update_hessian()
            put(self, earlier)
        return super().collect(run)

    @torch.no_grad()
    def update_hessian(self) -> None:
        """Take the gradients at hand, of a loss on drawn labels, into h; nothing else changes."""
        pairs = [(p, group) for group in self.param_groups for p in group["params"]]
        for number, (p, group) in enumerate(pairs):
            if p.grad is not None and p.numel():
                check_dense(p, "SophiaG")
                self.start_state(p, group, number)
                h = self.state[p]["hessian"]
                h.lerp_(real(p.grad.detach()).to(h.dtype).square(), 1 - group["betas"][1])
        # on the CPU, since the host reads it
        self.set_whole("last_estimate", torch.tensor(float(self.whole_step), dtype=torch.float64, device="cpu"))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        hessian: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        rho: Value,
        bs: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        exp_avg = lerp(g, exp_avg, betas[0])
        return p - lr * clamp(exp_avg / (rho * bs * hessian + 1e-15), -1, 1), exp_avg, hessian
