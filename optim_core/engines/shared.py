"""The values that all parameters share, for engines that keep them on the parameters' device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.operations import on_tensor
from optim_core.engines.tensors import total_dtype
from optim_core.rules.trace import evaluate
from optim_core.rules.values import Level, Value

Environment: TypeAlias = dict[int, Any]  # value index -> 0-d tensor (level WHOLE) or float (HOST)


class SharedRun:
    """The part of a run that holds shared values, as 0-d tensors on the device: nothing waits for it.

    Args:
        bucket: what to update.
        whole: states on level WHOLE by name, 0-d tensors.
    """

    def __init__(self, bucket: Bucket, whole: Mapping[str, Tensor]) -> None:
        self.bucket = bucket
        self.environment: Environment = {}
        for v in bucket.graph.shared:
            if v.level is Level.HOST:
                self.environment[v.index] = evaluate(v, bucket.host, self.environment)
            elif v.op == "input":
                self.environment[v.index] = whole[v.name].to(bucket.device, copy=True)
        self._derive()

    def _derive(self) -> None:
        """Compute those shared values whose operands are known."""
        for v in self.bucket.graph.shared:
            ready = v.op not in ("input", "sum") and all(a.index in self.environment for a in v.args)
            if ready and v.index not in self.environment:
                operands = [self.environment[a.index] for a in v.args]
                self.environment[v.index] = on_tensor(v, operands, None, total_dtype(self.bucket.device))

    def set_totals(self, pass_totals: tuple[int, ...], totals: Sequence[Tensor | float]) -> None:
        """Take the totals of a pass, summed over all buckets."""
        device = self.bucket.device
        for i, x in zip(pass_totals, totals, strict=True):
            total = torch.as_tensor(x, dtype=total_dtype(device), device=device)
            self.environment[self.bucket.graph.trace.totals[i].index] = total
        self._derive()

    def value(self, shared: Value) -> Tensor | float:
        """A value that all parameters share; all totals must be set."""
        return self.environment[shared.index]  # type: ignore[no-any-return]
