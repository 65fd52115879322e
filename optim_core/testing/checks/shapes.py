"""Shapes, memory layouts and types of parameters."""

from __future__ import annotations

import torch
from torch.nn import Parameter

from optim_core.testing.check import check, require
from optim_core.testing.checks.construction import goes_by_gradients, is_optimizer
from optim_core.testing.small import SHAPES, close, copies, finite, positive, tensors
from optim_core.testing.subject import Subject


@check(goes_by_gradients)
def check_takes_every_shape(subject: Subject) -> None:
    """Parameters of 0 to 5 dimensions, of one element and of none are worked with, or refused by the constructor.

    Remedy: try the shape named; where a method is for matrices, give other shapes another update, or raise ValueError.
    """
    beside = {"matrix": SHAPES["matrix"]}
    cases = [SHAPES] if subject.is_declared else [{**beside, name: shape} for name, shape in SHAPES.items()]
    for shapes in cases:
        params = [positive(shape, i, subject.dtype) for i, shape in enumerate(shapes.values())]
        before = copies(params)
        try:
            optimizer = subject.build(params)
        except (ValueError, TypeError):  # it says so
            continue
        try:
            subject.train(optimizer, params)
        except Exception as error:
            raise RuntimeError(f"for parameters of shape {', '.join(map(str, shapes.values()))}: {error}") from error
        for name, a, b in zip(shapes, before, params, strict=True):
            require(finite([b]), f"a parameter of shape {tuple(b.shape)} ({name}) is infinite or not a number")
            may_stay = not b.numel() or (b.numel() == 1 and subject.shortfall and subject.kind == "wrapper")
            require(may_stay or not torch.equal(a, b), f"a parameter of shape {tuple(b.shape)} ({name}) stays")


@check(is_optimizer)
def check_memory_layout_does_not_matter(subject: Subject) -> None:
    """Transposed and channels-last parameters go the way of contiguous ones.

    Remedy: use ``reshape`` instead of ``view``, and create state with ``torch.zeros_like(p)``.
    """
    plain = subject.params((4, 6), (4, 2, 3, 3))
    other = [
        Parameter(p.detach().t().contiguous().t() if p.ndim == 2 else p.detach().to(memory_format=torch.channels_last))
        for p in plain
    ]
    for params in (plain, other):
        torch.manual_seed(0)
        subject.train(subject.build(params), params)
    require(close(other, plain), "parameters that are not contiguous go another way than contiguous ones")


@check(is_optimizer)
def check_low_precision(subject: Subject) -> None:
    """Parameters in bfloat16 keep their type and stay finite; a rule's state is kept in float32, or as it is declared.

    Remedy: compute in float32 where numbers get small, and write back with ``p.copy_(new)``.
    """
    params = subject.params(dtype=torch.bfloat16)
    optimizer = subject.build(params)
    subject.train(optimizer, params)
    require(finite(params), "parameters in bfloat16 are infinite or not a number")
    for p in params:
        require(p.dtype is torch.bfloat16, f"a parameter in bfloat16 becomes {p.dtype}")
        types = {t.dtype for t in tensors(optimizer.state[p])}
        if subject.is_rule:
            stored = {getattr(torch, x.stored) for x in optimizer.states.values() if x.stored is not None}
            require(types <= {torch.float32, *stored}, f"the state of a parameter in bfloat16 is kept in {types}")
