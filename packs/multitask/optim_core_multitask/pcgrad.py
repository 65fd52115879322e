"""Projecting conflicting gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from optim_core.methods import compute_dtype, full_tensor, hyper, real, total_dtype
from optim_core.optimizers import backward, check_dense, hashed_seed, parameters
from optim_core_multitask.over_ranks import averaged
from optim_core_multitask.tasks import MultiTask


class PCGrad(MultiTask):
    r"""Takes from each task's gradient what points against another task's, and steps with what is left of all.

    .. math:: v_i \leftarrow v_i - \frac{\min(0, v_i \cdot g_j)}{\lVert g_j \rVert^2} g_j
        \quad \text{for every other task } j, \text{ starting from } v_i = g_i

    Inner products are over all parameters together. Elements that some task does not reach are summed, never
    averaged, as in the widely used port. As in the authors' code a task also meets its own gradient, which the paper
    leaves out; it matters from three conflicting tasks on. A parameter that no task reaches keeps no gradient and is
    not stepped (the port gives it zeros, so that momentum and decay move it).

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> optimizer = PCGrad(torch.optim.SGD([weight], lr=0.1))
        >>> [loss.item() for loss in optimizer.minimize(lambda: [weight[0] ** 2, (weight[0] - weight[1]) ** 2])]
        [1.0, 0.0]

    Source: Yu et al., Gradient Surgery for Multi-Task Learning, 2020, https://arxiv.org/abs/2001.06782, Algorithm 1
    (which sums: ``reduction="sum"``).
    """

    reduction: str = hyper("mean", "how the tasks' gradients are merged", choices=("mean", "sum"))
    shuffle: bool = hyper(True, "meet the other tasks in random order; False: in the order of the losses")
    seed: int = hyper(0, "of the random order, whose position is part of the state dict", ge=0)

    def on_wrap(self) -> None:
        """Count steps, for the seed of each."""
        super().on_wrap()
        self.counters["steps"] = 0

    def merge(self, losses: Sequence[Tensor], scale: Tensor | None) -> None:
        """Project, and add up; a common factor of all gradients passes through."""
        losses = losses if scale is None else [loss * scale.to(loss.device) for loss in losses]
        params = [p for p in parameters(self) if p.requires_grad]
        gradients = [self._gradient(loss, params, last=i == len(losses) - 1) for i, loss in enumerate(losses)]
        with torch.no_grad():
            self._merge(params, averaged(params, gradients, self))

    def _gradient(self, loss: Tensor, params: Sequence[Tensor], *, last: bool) -> list[Tensor | None]:
        self.zero_grad()
        backward(loss, create_graph=False, retain_graph=not last)
        for p in params:
            check_dense(p, "PCGrad")
        return [p.grad for p in params]

    def _merge(self, params: Sequence[Tensor], gradients: Sequence[Sequence[Tensor | None]]) -> None:
        if not params:
            return
        filled = [_filled(params, g) for g in gradients]
        weights = self._weights(_products(filled))
        for k, p in enumerate(params):
            present = [g[k] is not None for g in gradients]
            p.grad = None
            if any(present):
                tasks = len(present) if self.options["reduction"] == "mean" and all(present) else 1
                here = (weights / tasks).to(filled[0][k].device).unbind()
                p.grad = torch.empty_like(p)
                real(p.grad).copy_(functools.reduce(torch.add, [w * g[k] for w, g in zip(here, filled, strict=True)]))

    def _weights(self, products: Tensor) -> Tensor:
        """The weight of each gradient in the sum of all projected ones, from the products of every two: [tasks].

        Projections only add multiples of gradients to each other, so the vectors themselves need not be touched.
        """
        shares = torch.eye(len(products), dtype=products.dtype, device=products.device)
        squared = products.diagonal()
        for v, order in zip(shares, self._orders(len(products)), strict=True):
            for j in order:
                against = torch.clamp(v @ products[:, j], max=0)
                v[j] -= torch.where(squared[j] > 0, against / squared[j], 0)
        return shares.sum(0)

    def _orders(self, tasks: int) -> list[list[int]]:
        if not self.options["shuffle"]:
            return [list(range(tasks))] * tasks
        # a seed for each step, so that the draws need no state but the count
        seed = hashed_seed("PCGrad", self.options["seed"], self.counters["steps"])
        generator = torch.Generator("cpu").manual_seed(seed)
        self.counters["steps"] += 1
        return [torch.randperm(tasks, generator=generator, device="cpu").tolist() for _ in range(tasks)]


def _filled(params: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    """Gradients as real numbers in the type of arithmetic, zeros where there is none."""
    parts = [torch.zeros_like(real(p)) if g is None else real(g) for p, g in zip(params, gradients, strict=True)]
    return [x.to(compute_dtype(x)) for x in parts]


def _products(vectors: Sequence[Sequence[Tensor]]) -> Tensor:
    """The scalar products of every two gradients: [tasks, tasks]."""
    device = vectors[0][0].device
    dtype = total_dtype(device)
    products = torch.empty(len(vectors), len(vectors), dtype=dtype, device=device)
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors[: i + 1]):
            parts = [full_tensor((x * y).sum(dtype=dtype)).to(device) for x, y in zip(a, b, strict=True)]
            products[i, j] = products[j, i] = torch.stack(parts).sum()
    return products
