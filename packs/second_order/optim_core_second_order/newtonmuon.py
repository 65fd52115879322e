"""Newton-Muon."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from optim_core import decoupled, hyper, state
from optim_core.errors import UnsupportedParameter
from optim_core.methods import blocks_in, states_of_blocks
from optim_core.rules import Value, stacked
from optim_core_second_order.coefficients import CONVERGENT, Coefficients
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, averaged, ns_triples


def _square(shape: tuple[int, ...], group: Mapping[str, Any]) -> list[tuple[int, int]]:
    del group
    columns = math.prod(shape[1:])
    return [(columns, columns)]  # a list, since a state in the parameter's own shape would be one of elements


class NewtonMuon(Orthogonalised):
    """Muon of gradients that have been multiplied by the inverse covariance of their layer's inputs.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`. x are the
    inputs of a layer y = x p^T, as :meth:`observe` gets them, and T is the mean of x x^T over N forward passes::

        C = (1 - cov_weight) C + cov_weight T               every precondition_frequency steps, if N > 0; C = cov_init
        K = (C + (ridge mean(diag C) + ridge_eps) I)^-1     then, too; before that K = I
        M = momentum M + (1 - momentum) g K
        u = momentum M + (1 - momentum) g K                 with nesterov; otherwise u = M
        p = p (1 - lr weight_decay) - lr r orthogonal(u)

    r is sqrt(max(1, rows/columns)). Only the forward passes of the step that renews K count: :meth:`watch` has a
    model's linear layers observed in those. When K comes in first, gradients change their scale, and the old momentum
    counts for less or more; so it does in the authors' code. That cuts wide layers into four blocks
    (``blocks="columns/4"``), shares one covariance among Q, K and V, and overwrites p.grad.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
        >>> optimizer = NewtonMuon(model, lr=0.05, precondition_frequency=2)
        >>> watching = optimizer.watch(model)
        >>> x = torch.eye(4)
        >>> losses = [float(optimizer.minimize(lambda: model(x).square().mean())) for _ in range(20)]
        >>> losses[-1] < losses[0]
        True

    Source: Du and Su, The Newton-Muon Optimizer, 2026, https://arxiv.org/abs/2604.01472; constants as in the record
    named in the spec.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g K", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    precondition_frequency: int = hyper(64, "steps from one K to the next", ge=1)
    cov_init: float = hyper(1e-3, "first C, times the identity", ge=0)
    cov_weight: float = hyper(0.05, "weight of new statistics in C", ge=0, le=1)
    ridge: float = hyper(0.2, "what is added to C, as a share of its mean diagonal", ge=0)
    ridge_eps: float = hyper(1e-8, "what is added to C", gt=0)
    ns_steps: int = hyper(12, "steps of the iteration", ge=1)
    ns_coefficients: Coefficients = ns_triples(CONVERGENT)

    momentum_buffer = state("average of g K")
    cov = state("covariance C, once K is there", shape=_square)
    inv = state("its inverse K", shape=_square)
    observed = state("sum of x x^T since K was renewed", shape=_square)
    passes = state("forward passes in it", shape=lambda shape, group: (1,))

    def renews(self, p: Tensor) -> bool:
        """Return whether the next step renews the K of a parameter."""
        _, group = self.place_of(p)
        steps = int(self.state[p].get("step", 0)) if p in self.state else 0
        return bool(group["use_muon"]) and (steps + 1) % int(group["precondition_frequency"]) == 0

    @torch.no_grad()
    def observe(self, p: Tensor, x: Tensor) -> None:
        """Take the inputs of a forward pass into account.

        Args:
            p: the weight.
            x: what it was multiplied with, of shape (..., columns).

        Raises:
            UnsupportedParameter: x has another number of columns.
        """
        columns = math.prod(p.shape[1:])
        if x.shape[-1] != columns:
            raise UnsupportedParameter(
                f"NewtonMuon: inputs of {x.shape[-1]} columns for a weight of shape {tuple(p.shape)}: observe(p, x) "
                f"takes what p was multiplied with, of {columns} columns (of a convolution, its unfolded inputs)"
            )
        number, group = self.place_of(p)
        self.start_state(p, group, number)
        states = self.state[p]
        x = x.reshape(-1, columns).to(states["observed_0"].dtype)
        for own, seen in self._in_blocks(p, group, x):
            own["observed_0"].addmm_(seen.mT, seen, alpha=1 / len(seen))
            own["passes"].add_(1)

    def _in_blocks(self, p: Tensor, group: Mapping[str, Any], x: Tensor) -> Iterator[tuple[Mapping[str, Any], Tensor]]:
        """The states of each block of p, with the columns of x that it is multiplied with."""
        blocks = blocks_in(group, p.shape)
        if blocks is None:
            yield self.state[p], x
            return
        columns = torch.arange(x.shape[1], device=x.device).expand(len(p), -1).reshape(p.shape)
        parts = states_of_blocks(self.state[p], self.method.parameter_states, blocks, p, group)
        for block, own in zip(blocks, parts, strict=True):
            yield own, x[:, block.of(columns)[0].flatten()]

    def watch(self, model: nn.Module) -> list[RemovableHandle]:
        """Have the linear layers of a model observed in the steps that renew K.

        Returns:
            The hooks; ``remove()`` takes one away.
        """
        mine = {p for group in self.param_groups if group["use_muon"] for p in group["params"]}

        def saw(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled() and self.renews(module.weight):  # type: ignore[arg-type]
                self.observe(module.weight, inputs[0].detach())  # type: ignore[arg-type]

        layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight in mine]
        return [layer.register_forward_pre_hook(saw) for layer in layers]

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        cov: Value,
        inv: Value,
        observed: Value,
        passes: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        precondition_frequency: Value,
        cov_init: Value,
        cov_weight: Value,
        ridge: Value,
        ridge_eps: Value,
        step: Value,
        orthogonal: Orthogonal,
    ) -> tuple[Value, ...]:
        """The update above."""
        if step % precondition_frequency == 0:
            cov, inv, observed, passes = _renewed(
                *(cov, observed, passes),
                first=cov_init if step == precondition_frequency else None,
                weight=cov_weight,
                ridge=ridge,
                eps=ridge_eps,
            )
        if step >= precondition_frequency:
            g = _whitened(g, inv)
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        return p - lr * (adjustment(p, "original") * orthogonal(u)), M, cov, inv, observed, passes


@stacked("own", "own", "own", "own")
def _renewed(
    cov: list[Tensor],
    observed: list[Tensor],
    passes: Tensor,
    *,
    first: float | None,
    weight: float,
    ridge: float,
    eps: float,
) -> tuple[Any, ...]:
    """C and K with what has been observed, which begins anew."""
    (C,), (T,) = cov, observed
    one = torch.eye(C.shape[1], dtype=C.dtype, device=C.device)
    C = C if first is None else first * one.expand_as(C)
    N = passes.unsqueeze(2)
    C = torch.where(N > 0, torch.lerp(C, T / N.clamp(min=1), weight), C)
    size = ridge * C.diagonal(dim1=1, dim2=2).mean(1).reshape(-1, 1, 1) + eps
    L, failed = torch.linalg.cholesky_ex(C + size * one)
    K = torch.where(failed.reshape(-1, 1, 1) == 0, torch.cholesky_inverse(L), one)
    return [C], [K], [torch.zeros_like(T)], torch.zeros_like(passes)


@stacked("element")
def _whitened(g: Tensor, K: list[Tensor]) -> Tensor:
    """G K."""
    return torch.bmm(g.flatten(2), K[0]).reshape(g.shape)
