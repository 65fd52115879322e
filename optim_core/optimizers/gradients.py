"""The parameters of an optimizer, and the parameters and gradients that it cannot work with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.engines.sharded import SINCE, is_sharded
from optim_core.errors import GraphMissing, SparseGradient, UnsupportedParameter
from optim_core.rules.transform import IDENTITY, Transform


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of all groups."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def check_shards(params: Sequence[Tensor], owner: str) -> None:
    """Refuse sharded parameters where torch is too old for them.

    Raises:
        UnsupportedParameter: with the version that is needed.
    """
    if torch.__version__ < SINCE and any(map(is_sharded, params)):
        raise UnsupportedParameter(
            f"{owner}: steps of sharded parameters (DTensors, as FSDP makes them) need torch "
            f"{SINCE} or newer, and this is {torch.__version__}: update torch, or do not shard"
        )


def check_parameter(p: Tensor, owner: str, *, in_stacks: bool) -> None:
    """Refuse a parameter that cannot be worked with.

    Args:
        p: the parameter.
        owner: the method, for messages.
        in_stacks: True if it is sharded and its method hands it to functions of stacks.

    Raises:
        UnsupportedParameter: it is neither floating-point nor complex, or is sharded and goes into stacks.
    """
    if not (p.is_floating_point() or p.is_complex()):
        raise UnsupportedParameter(f"{owner} works on floating-point parameters, not on one of {p.dtype}")
    if in_stacks:
        raise UnsupportedParameter(
            f"{owner} works on whole matrices, and a parameter of shape {tuple(p.shape)} is sharded (a DTensor, as "
            "FSDP makes them): choose a method without them, such as adamw, or do not shard"
        )


def check_graph(params: Sequence[Tensor], owner: str) -> None:
    """Refuse gradients without a graph, where a step differentiates them.

    One alone may lack it: the loss may be linear in that parameter.

    Raises:
        GraphMissing: with the remedy.
    """
    if params and not any(p.grad is not None and p.grad.requires_grad for p in params):
        raise GraphMissing(
            f"{owner} differentiates the gradients in this step, but they carry no graph: call "
            "loss.backward(create_graph=True) while optimizer.needs_graph is true, or optimizer.minimize(closure), "
            "which does it where it is needed"
        )


def check_dense(p: Tensor, owner: str) -> None:
    """Refuse a sparse gradient.

    Raises:
        SparseGradient: with the remedy.
    """
    if p.grad is not None and p.grad.layout is not torch.strided:
        raise SparseGradient(
            f"{owner} got a sparse gradient for a parameter of shape {tuple(p.shape)}; it works on "
            "dense ones: build the embedding with sparse=False, or give that parameter to a method that works on the "
            "rows that occur, such as sparseadam, adagrad or sgd"
        )


def check_gradient(p: Tensor, owner: str, *, rows: Sequence[Transform] | None = None) -> None:
    """Refuse a gradient that cannot be worked with.

    Args:
        p: the parameter.
        owner: the method, for messages.
        rows: for a method that takes the rows of sparse gradients, the transforms composed with its rule.

    Raises:
        SparseGradient: it is sparse; for a method that takes rows, in another form, or with transforms.
        UnsupportedParameter: it does not fit its parameter.
    """
    g = p.grad
    if g is None:
        return
    if rows is None:
        check_dense(p, owner)
    elif g.layout is not torch.strided:
        _check_rows(p, g, owner, rows)
    if g.shape != p.shape or g.device != p.device:  # possible after p.data was replaced
        raise UnsupportedParameter(
            f"{owner}: a gradient of shape {tuple(g.shape)} on {g.device} does not fit its parameter of shape "
            f"{tuple(p.shape)} on {p.device}: call zero_grad() and backward() again"
        )


def _check_rows(p: Tensor, g: Tensor, owner: str, transforms: Sequence[Transform]) -> None:
    if g.layout is not torch.sparse_coo or g.sparse_dim() != 1:
        raise SparseGradient(
            f"{owner} takes sparse gradients as rows, those of embeddings with sparse=True, and got one of "
            f"{g.layout} for a parameter of shape {tuple(p.shape)}: build that layer with sparse=False"
        )
    if any(transform is not IDENTITY for transform in transforms):
        raise SparseGradient(
            f"{owner} got a sparse gradient for a parameter of shape {tuple(p.shape)}, and what is composed with its "
            "rule works on dense ones: take the wrapper away, or build the embedding with sparse=False"
        )
