"""TransformWrapper: a transform of gradients or updates, as a wrapper for any optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optim_core.closures import check_dense, parameters
from optim_core.optimizer import RuleOptimizer
from optim_core.rules.bucket import Bucket
from optim_core.rules.compose import Settings, Transform, around
from optim_core.rules.graph import Graph
from optim_core.rules.step import run
from optim_core.rules.values import Trace
from optim_core.update import compute_dtype, real
from optim_core.wrapper import Wrapper


class TransformWrapper(Wrapper):
    """A wrapper that is a :class:`~optim_core.rules.Transform`.

    Around a RuleOptimizer the transform is composed with the rule and costs no pass over memory. Around any other
    torch optimizer it works on copies before and after the step; the user's ``p.grad`` is put back. There the update
    is all that the base has done to a parameter, its weight decay included.
    """

    def transform(self) -> Transform:
        """The transform that the options describe."""
        raise NotImplementedError

    def wrapped(self) -> None:
        """Compose with the rule if there is one."""
        super().wrapped()
        if isinstance(self.innermost, RuleOptimizer):
            self.innermost.add_transform(self.transform())

    def apply(self) -> None:
        """Step with transformed gradients.

        Raises:
            SparseGradient: before anything is changed.
        """
        if isinstance(self.innermost, RuleOptimizer):
            super().apply()
            return
        settings = Settings(None, fixed_decay=False, maximize=False, transforms=(self.transform(),))
        params = [p for p in parameters(self) if p.grad is not None]
        for p in params:
            check_dense(p, self.method.name)
        gradients = {p: p.grad for p in params}
        seen: dict[Tensor, Tensor] = {}
        graphs = [_graphs(p, settings) for p in params]
        for p, (before, _) in zip(params, graphs, strict=True):
            if "gradient" in before.outputs:
                seen[p] = torch.empty_like(p)
                _run(before, p, {"g": _real(p.grad), "gradient": real(seen[p])})
        old = {p: p.detach().clone() for p, (_, after) in zip(params, graphs, strict=True) if after is not None}
        try:
            for p, transformed in seen.items():
                p.grad = transformed
            super().apply()
        finally:
            for p in params:
                p.grad = gradients[p]
        for p, (_, after) in zip(params, graphs, strict=True):
            if after is not None:
                new_p = p.detach().clone()
                p.copy_(old[p])
                given = {"g": _real(gradients[p]), "gradient": _real(seen.get(p)), "new_p": real(new_p)}
                _run(after, p, given)


def _real(g: Tensor | None) -> Tensor:
    return real(g.detach()) if g is not None else torch.empty(0)


def _graphs(p: Tensor, settings: Settings) -> tuple[Graph, Graph | None]:
    return around(Trace({}, real(p).shape), {}, settings)


def _run(graph: Graph, p: Tensor, buffers: Mapping[str, Any]) -> None:
    mine = {"p": [real(p.detach())]} | {name: [x] for name, x in buffers.items()}
    run([Bucket(graph, {}, mine, compute_dtype(real(p)))], {})
