"""Objects that engines make once and use again: for a graph in ``graph.plans``, for tensors in ``bucket.tables``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, MutableMapping
from typing import Any, TypeVar

import torch

from optim_core.engines.bucket import Bucket
from optim_core.engines.lowering import Program, total_program, update_program

T = TypeVar("T")


def once(store: MutableMapping[Any, Any], kind: Callable[..., T], key: Hashable, make: Callable[[], T]) -> T:
    """The object of a kind under a key; made if it is not there.

    Args:
        store: the dict that holds such objects, those of all engines.
        kind: the object's class, which keeps the keys of engines apart.
        key: distinguishes objects of that kind.
        make: called to make it.
    """
    place = kind, key
    if place not in store:
        store[place] = make()
    return store[place]  # type: ignore[no-any-return]


def kernel_of(
    bucket: Bucket,
    kind: Callable[[Program, Mapping[str, torch.dtype], torch.dtype], T],
    pass_totals: tuple[int, ...] | None,
) -> T:
    """The code of one pass over a bucket, shared by all buckets of the same graph and types.

    Args:
        bucket: what it is for.
        kind: compiles a program, given the types of its buffers and the type to compute in.
        pass_totals: positions of the totals that the pass computes, or None for the pass that writes.
    """
    graph = bucket.graph
    dtypes = {name: bucket.buffers[name][0].dtype for name in ("p", *graph.buffers)}

    def compiled() -> T:
        program = update_program(graph) if pass_totals is None else total_program(graph, pass_totals)
        return kind(program, dtypes, bucket.dtype)

    return once(graph.plans, kind, (pass_totals, bucket.dtype, *dtypes.values()), compiled)
