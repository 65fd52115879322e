"""One step over all buckets, whichever engines run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket, Run
from optim_core.engines.choice import COMPILED
from optim_core.engines.eager.engine import EagerRun
from optim_core.engines.tensors import total_dtype
from optim_core.errors import RuleError


def run(buckets: Sequence[Bucket], whole: Mapping[str, Tensor], *, foreach: bool | None = None) -> None:
    """Do one step: write the new values of all parameters and states.

    Args:
        buckets: what to update; their graphs are traces of one rule.
        whole: states on level WHOLE by name, 0-d tensors.
        foreach: for the eager engine, True for lists of tensors, False for tensor by tensor, None to choose.
    """
    runs = [_start(bucket, whole, foreach) for bucket in buckets]
    if not runs:
        return
    for together in _passes(buckets):
        totals = runs[0].sums(together)
        if len(runs) > 1:
            parts = zip(totals, *(r.sums(together) for r in runs[1:]), strict=True)
            totals = [_added(part, buckets[0].device) for part in parts]
        for r in runs:
            r.know(together, totals)
    for r in runs:
        r.update()
    for name, v in buckets[0].graph.whole.items():
        x = runs[0].value(v)
        whole[name].copy_(x) if isinstance(x, Tensor) else whole[name].fill_(x)


def _start(bucket: Bucket, whole: Mapping[str, Tensor], foreach: bool | None) -> Run:
    compiled = COMPILED.get(bucket.engine)
    return EagerRun(bucket, whole, foreach) if compiled is None else compiled.start(bucket, whole)


def _added(parts: Sequence[Tensor | float], device: torch.device) -> Tensor | float:
    if set(map(type, parts)) == {float}:
        return sum(parts)
    dtype = total_dtype(device)
    return torch.stack([torch.as_tensor(x, dtype=dtype, device=device) for x in parts]).sum()


def _passes(buckets: Sequence[Bucket]) -> Sequence[tuple[int, ...]]:
    """The passes over memory that sum, as positions among a rule's totals: few, if all graphs need the same."""
    wanted = {bucket.graph.passes for bucket in buckets}
    if len(wanted) == 1:
        return wanted.pop()
    if len({len(bucket.graph.depths) for bucket in buckets}) > 1:
        raise RuleError(
            "the rule asks for more totals for some parameters than for others, but each sums over all of them: call "
            "total(...) before any branch"
        )
    return [(i,) for i in range(len(buckets[0].graph.depths))]
