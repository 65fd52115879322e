"""The record of an engine: all that the rest of the core knows of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket, Run
from optim_core.rules.graph import Access


def _takes_all(_buffers: Mapping[str, Tensor], _access: Access, _compute_dtype: torch.dtype) -> str | None:
    return None


def _nothing_to_prepare(_bucket: Bucket) -> None:
    pass


@dataclass
class Engine:
    """An engine. One that compiles code of its own has more to say than its name and how it starts.

    Attributes:
        name: the value of the option ``engine`` that asks for it.
        start: begins a step of a bucket, given the states on level WHOLE.
        auto_devices: the kinds of device for whose tensors ``engine="auto"`` prefers it.
        auto_reason: why it does, for ``explain()``.
        obstacle: returns why the engine cannot update a parameter, or None if it can; takes the parameter's buffers,
            how they are gone over, and the type to compute in.
        prepare: compiles everything that a bucket's next step runs; raises one of ``errors``.
        errors: the exceptions that ``prepare`` raises.
        remedy: what helps then, as the beginning of a sentence.
        failure: why ``engine="auto"`` no longer uses it in this process, or None; set when ``prepare`` fails.
    """

    name: str
    start: Callable[[Bucket, Mapping[str, Tensor]], Run]
    auto_devices: frozenset[str] = frozenset()
    auto_reason: str = ""
    obstacle: Callable[[Mapping[str, Tensor], Access, torch.dtype], str | None] = _takes_all
    prepare: Callable[[Bucket], None] = _nothing_to_prepare
    errors: tuple[type[Exception], ...] = ()
    remedy: str = ""
    failure: str | None = None
