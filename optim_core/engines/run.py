"""One step over all buckets, whichever engines run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.choice import BY_NAME
from optim_core.engines.tensors import total_dtype
from optim_core.errors import RuleError


def run(buckets: Sequence[Bucket], whole: Mapping[str, Tensor]) -> None:
    """Do one step: write the new values of all parameters and states.

    Args:
        buckets: what to update; their graphs are traces of one rule.
        whole: states on level WHOLE by name, 0-d tensors.
    """
    runs = [BY_NAME[bucket.engine].start(bucket, whole) for bucket in buckets]
    if not runs:
        return
    for pass_totals in _passes(buckets):
        totals = runs[0].sums(pass_totals)
        if len(runs) > 1:
            parts = zip(totals, *(r.sums(pass_totals) for r in runs[1:]), strict=True)
            totals = [_sum_of(part, buckets[0].device) for part in parts]
        for r in runs:
            r.set_totals(pass_totals, totals)
    for r in runs:
        r.update()
    for name, v in buckets[0].graph.whole.items():
        x = runs[0].value(v)
        whole[name].copy_(x) if isinstance(x, Tensor) else whole[name].fill_(x)


def _sum_of(parts: Sequence[Tensor | float], device: torch.device) -> Tensor | float:
    if set(map(type, parts)) == {float}:
        return sum(parts)
    dtype = total_dtype(device)
    return torch.stack([torch.as_tensor(x, dtype=dtype, device=device) for x in parts]).sum()


def _passes(buckets: Sequence[Bucket]) -> Sequence[tuple[int, ...]]:
    """The passes that sum, each as the positions of its totals: as few as possible if all graphs have the same ones."""
    different = {bucket.graph.passes for bucket in buckets}
    if len(different) == 1:
        return different.pop()
    if len({len(bucket.graph.depths) for bucket in buckets}) > 1:
        raise RuleError(
            "the rule asks for more totals for some parameters than for others, but each sums over all of them: call "
            "total(...) before any branch"
        )
    return [(i,) for i in range(len(buckets[0].graph.depths))]
