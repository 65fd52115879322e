"""Methods of which no trajectories are recorded, held against slow programs of their papers' formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

import optim_core
from optim_core.testing import against


class Slow(Optimizer):
    """A closure method, tensor by tensor."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, options)
        self.known: dict[Any, Any] = {}

    @torch.no_grad()
    def step(self, closure: Any) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        self.move(self.param_groups[0]["params"], float(loss), self.param_groups[0])
        return loss

    def move(self, params: Any, f: float, options: Mapping[str, Any]) -> None:
        raise NotImplementedError


class SlowAdaGradNorm(Slow):
    """Ward et al., Algorithm 1."""

    def move(self, params: Any, f: float, options: Mapping[str, Any]) -> None:
        squares = self.known.get("b", options["b0"]) ** 2 + sum(float(p.grad.square().sum()) for p in params)
        self.known["b"] = math.sqrt(squares)
        for p in params:
            p.sub_(options["lr"] / self.known["b"] * p.grad)


class SlowAEGD(Slow):
    """Liu and Tian, Algorithm 1; weight decay as the authors' code has it."""

    def move(self, params: Any, f: float, options: Mapping[str, Any]) -> None:
        lr, root = options["lr"], math.sqrt(f + options["c"])
        for p in params:
            v = p.grad / (2 * root)
            if options.get("decoupled_weight_decay"):
                p.mul_(1 - lr * options["weight_decay"])
            else:
                v = v + options.get("weight_decay", 0.0) * p
            self.known[p] = self.known.get(p, torch.full_like(p, root)) / (1 + 2 * lr * v * v)
            p.sub_(2 * lr * self.known[p] * v)


class SlowOrthoLaProp(Slow):
    """OrthoGrad's projection, then LaProp; what HeavyBall makes of one element depends on rounding."""

    def move(self, params: Any, f: float, options: Mapping[str, Any]) -> None:
        lr, (beta1, beta2), eps = options["lr"], options["betas"], options["eps"]
        self.known["t"] = t = self.known.get("t", 0) + 1
        for p in params:
            along = (p * p.grad).sum() / (p.square().sum() + eps)
            q = p.grad - along * p if p.numel() > 1 else p.grad * eps / (p.square() + eps)
            q = q * p.grad.norm() / max(float(q.norm()), 1e-6)
            m, v = self.known.get(p, (torch.zeros_like(p), torch.zeros_like(p)))
            v = beta2 * v + (1 - beta2) * q * q
            # LaProp averages what has been divided, so that its own correction is a division after the average
            m = beta1 * m + (1 - beta1) * q / (v / (1 - beta2**t)).sqrt().clamp(min=1e-8)
            self.known[p] = (m, v)
            p.sub_(lr * (m / (1 - beta1**t) + options["weight_decay"] * p))


@pytest.mark.parametrize(
    ("name", "slow", "options"),
    [
        ("adagradnorm", SlowAdaGradNorm, {"lr": 0.5, "b0": 0.3}),
        ("aegd", SlowAEGD, {"lr": 0.2, "c": 1.0}),
        ("aegd", SlowAEGD, {"lr": 0.2, "c": 1.5, "weight_decay": 0.1}),
        ("aegd", SlowAEGD, {"lr": 0.2, "c": 1.5, "weight_decay": 0.1, "decoupled_weight_decay": True}),
        ("ortholaprop", SlowOrthoLaProp, {"lr": 0.02, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}),
        ("ortholaprop", SlowOrthoLaProp, {"lr": 0.02, "betas": (0.7, 0.9), "eps": 0.1, "weight_decay": 0.0}),
    ],
)
def test_does_what_the_paper_says(name: str, slow: Callable[..., Any], options: dict[str, Any]) -> None:
    against(slow, optim_core.get(name), options)
