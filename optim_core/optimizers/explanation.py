"""Explanations: the options, engine and state in force for each parameter, with reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.catalog.registry import registry
from optim_core.catalog.sizes import element_count
from optim_core.catalog.specs import OptimizerSpec
from optim_core.text import byte_size


@dataclass(frozen=True)
class Row:
    """One parameter.

    Attributes:
        name: its name, or its position (group.index) where names are unknown.
        shape, dtype: of the parameter.
        method: the class that updates it.
        options: the options of its group.
        lr: its learning rate; None where the group has none.
        weight_decay: its weight decay; None where the method has none.
        decay: the weight decay and how it is applied, or why there is none.
        wrappers: what is around the method, the innermost first.
        engine: the engine that runs the update, and why.
        state_bytes: bytes of its state once it has had a gradient; of a plain class without such a spec, now.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    method: str
    options: Mapping[str, Any]
    lr: float | None
    weight_decay: float | None
    decay: str
    wrappers: tuple[str, ...]
    engine: str
    state_bytes: int


@dataclass(frozen=True)
class Explanation:
    """A row per parameter; prints as a table."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        header = ("parameter", "shape", "method", "lr", "weight decay", "state", "engine")
        lines = [header, *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(x.ljust(w) for x, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        options = {(r.method, tuple((k, str(v)) for k, v in r.options.items())) for r in self.rows}
        notes = [f"{method}: " + ", ".join(f"{k}={v}" for k, v in values) for method, values in sorted(options)]
        arounds = dict.fromkeys(r.wrappers for r in self.rows if r.wrappers)
        notes += [f"around it, from the inside out: {', '.join(around)}" for around in arounds]
        total = f"{len(self.rows)} parameters, {byte_size(sum(r.state_bytes for r in self.rows))} of state"
        return "\n".join([*table, "", *notes, total])


def explain(optimizer: Optimizer) -> Explanation:
    """Say what is in force for each parameter of an optimizer, and why.

    Args:
        optimizer: any torch optimizer.

    Example:
        >>> import torch
        >>> from optim_core import explain
        >>> w = torch.nn.Parameter(torch.zeros(2, 3))
        >>> [row.shape for row in explain(torch.optim.SGD([w], lr=0.1))]
        [(2, 3)]
    """
    own = getattr(optimizer, "explain", None)
    if callable(own):
        return own()  # type: ignore[no-any-return]

    cls = type(optimizer)
    owner = "torch" if cls.__module__.partition(".")[0] == "torch" else cls.__name__
    sizes = _declared_sizes(cls)

    def facts(p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        kept = [x for x in optimizer.state.get(p, {}).values() if isinstance(x, Tensor) and x.ndim]
        bytes_of = sum(x.nbytes for x in kept) or sum(element_count(s, tuple(p.shape)) for s in sizes) * p.itemsize
        decays = decay_text(group, f"as {owner} applies it")
        return {"decay": decays, "engine": f"{owner}'s own", "state_bytes": bytes_of}

    return explanation_of(optimizer, facts)


def _declared_sizes(cls: type[Optimizer]) -> list[str]:
    """The sizes of the states of a plain class, as the spec of a pack declares them; none for torch's own."""
    if cls.__module__.partition(".")[0] == "torch":
        return []
    specs = [entry.spec for entry in registry().nearest_entries(cls, "state")]
    return list(specs[0].state.values()) if specs and isinstance(specs[0], OptimizerSpec) else []


def explanation_of(
    optimizer: Optimizer, facts: Callable[[Tensor, Mapping[str, Any]], Mapping[str, Any]]
) -> Explanation:
    """Return a row per parameter; ``facts`` gives decay, engine and state_bytes of a parameter and its group."""
    rows = []
    for number, group in enumerate(optimizer.param_groups):
        names = group.get("param_names") or [f"{number}.{k}" for k in range(len(group["params"]))]
        for name, p in zip(names, group["params"], strict=True):
            row = Row(
                name=name,
                shape=tuple(p.shape),
                dtype=str(p.dtype).removeprefix("torch."),
                method=type(optimizer).__name__,
                options={k: v for k, v in group.items() if k not in _NOT_OPTIONS},
                lr=None if group.get("lr") is None else float(group["lr"]),
                weight_decay=group.get("weight_decay"),
                wrappers=(),
                **facts(p, group),
            )
            rows.append(row)
    return Explanation(tuple(rows))


_NOT_OPTIONS = frozenset({"params", "param_names", "why", "initial_lr", "lr", "weight_decay"})


def decay_text(group: Mapping[str, Any], how: str) -> str:
    """Return the weight decay in force and how it is applied, or why there is none."""
    value = group.get("weight_decay")
    if value is None:
        return "the method has none"
    return f"{value:g}, {how}" if value else str(group.get("why", "0"))


def _cells(row: Row) -> tuple[str, ...]:
    shape, lr = "x".join(map(str, row.shape)) or "()", _number(row.lr)
    return row.name, shape, row.method, lr, row.decay, byte_size(row.state_bytes), row.engine


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:g}"
