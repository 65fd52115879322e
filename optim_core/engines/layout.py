"""How tensors lie in memory, for engines that work on addresses."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from optim_core.rules.graph import Access
from optim_core.rules.values import Level


def obstacle(
    buffers: Mapping[str, Tensor],
    access: Access,
    compute_dtype: torch.dtype,
    dtypes: Collection[torch.dtype],
    device: str,
    elsewhere: str = "",
) -> str | None:
    """The reason why a parameter cannot be worked on as plain memory, or None if it can.

    Args:
        buffers: the parameter's tensors, by buffer name.
        access: how they are gone over.
        compute_dtype: the type to compute in; float32 and float64 will do.
        dtypes: the types that the engine loads and stores.
        device: the kind of device that it works on.
        elsewhere: added to what is said of tensors on another device.
    """
    if compute_dtype not in (torch.float32, torch.float64):
        return f"it is of {buffers['p'].dtype}"
    for name, x in buffers.items():
        if x.device.type != device:
            return f"{name} is on {x.device}{elsewhere}"
    return next(_of_kind(buffers, dtypes), None) or next(_of_layout(buffers, access), None)


def _of_kind(buffers: Mapping[str, Tensor], dtypes: Collection[torch.dtype]) -> Iterator[str]:
    for name, x in buffers.items():
        if type(x) not in (Tensor, torch.nn.Parameter):
            yield f"{name} is a {type(x).__name__}"
        if x.dtype not in dtypes:
            yield f"{name} is of {x.dtype}"
        if x.layout is not torch.strided or x.is_neg() or x.is_conj():
            yield f"{name} is not plain memory"


def _of_layout(buffers: Mapping[str, Tensor], access: Access) -> Iterator[str]:
    p = buffers["p"]
    if not _is_dense(p):
        yield "it has gaps in memory"
    for name, home in access.homes.items():
        x = buffers[name]
        if home == (Level.ELEMENT, 1):
            if x is not p and (x.stride() != p.stride() or x.shape != p.shape):
                yield "its tensors are laid out in memory in different ways"
        elif not x.is_contiguous():
            yield f"{name} is not contiguous"
    if access.in_order and not p.is_contiguous():
        yield "its elements are counted, and they are not in order in memory"
    if access.by_rows and run_of_row(p) != _width(p):
        yield "its rows are not contiguous in memory"


def _is_dense(x: Tensor) -> bool:
    """True if the elements fill a piece of memory, each once, in whatever order."""
    if x.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride(), x.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def run_of_row(x: Tensor) -> int:
    """How many elements of a row of a dense tensor lie together; in the transpose of a matrix each lies alone.

    Example:
        >>> run_of_row(torch.zeros(3, 4, 5)), run_of_row(torch.zeros(4, 3, 5).transpose(0, 1))
        (20, 5)
    """
    return _width(x) if x.is_contiguous() or x.shape[0] == 1 else x.stride(0)


def _width(x: Tensor) -> int:
    return x.numel() // x.shape[0] if x.ndim else 1


def overlap(tensors: Iterable[Tensor]) -> bool:
    """True if any two of the tensors, each of them dense, share memory."""
    spans = sorted((x.data_ptr(), x.data_ptr() + x.nbytes) for x in tensors)
    return any(end > start for (_, end), (start, _) in itertools.pairwise(spans))


def sizes_and_widths(params: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """The number of elements of each parameter, and of a row of it.

    Example:
        >>> sizes_and_widths([torch.zeros(3, 4, 5), torch.zeros(7), torch.zeros(())])
        ([60, 7, 1], [20, 1, 1])
    """
    return [p.numel() for p in params], list(map(_width, params))


def cut(counts: Sequence[int], limits: Sequence[int]) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Tensors cut into chunks.

    Args:
        counts: how many units each tensor has, rows or elements.
        limits: how many of them a chunk of it has at most.

    Returns:
        The chunks, as tensor, first unit and the one after the last; and the first chunk of each tensor, and one more.

    Example:
        >>> cut([5, 2], [3, 3])
        ([(0, 0, 3), (0, 3, 5), (1, 0, 2)], [0, 2, 3])
    """
    chunks: list[tuple[int, int, int]] = []
    of_tensor = [0]
    for t, (count, limit) in enumerate(zip(counts, limits, strict=True)):
        chunks += [(t, start, min(start + limit, count)) for start in range(0, count, limit)]
        of_tensor.append(len(chunks))
    return chunks, of_tensor
