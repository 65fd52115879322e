"""What is in force for each parameter, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer

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
        decay: how and why.
        wrappers: what is around the method, the innermost first.
        engine: what runs the update, and why.
        state_bytes: memory of its state once it has had a gradient (for torch's own classes: what it has now).
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
    """A row for each parameter; prints as a table."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        header = ("parameter", "shape", "method", "lr", "weight decay", "state", "engine")
        lines = [
            (
                r.name,
                "x".join(map(str, r.shape)) or "()",
                r.method,
                _number(r.lr),
                r.decay,
                byte_size(r.state_bytes),
                r.engine,
            )
            for r in self.rows
        ]
        widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
        table = ["  ".join(x.ljust(w) for x, w in zip(line, widths, strict=True)).rstrip() for line in (header, *lines)]
        options = {(r.method, tuple((k, str(v)) for k, v in r.options.items())) for r in self.rows}
        notes = [f"{method}: " + ", ".join(f"{k}={v}" for k, v in values) for method, values in sorted(options)]
        arounds = dict.fromkeys(r.wrappers for r in self.rows if r.wrappers)
        notes += [f"around it, from the inside out: {', '.join(around)}" for around in arounds]
        total = f"{len(self.rows)} parameters, {byte_size(sum(r.state_bytes for r in self.rows))} of state"
        return "\n".join([*table, "", *notes, total])


def explain(optimizer: Optimizer) -> Explanation:
    """What is in force for each parameter of an optimizer, and why.

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

    def facts(p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        held = [x for x in optimizer.state.get(p, {}).values() if isinstance(x, Tensor) and x.ndim]
        size = sum(x.numel() * x.element_size() for x in held)
        return {
            "decay": decay_text(group, "as torch applies it"),
            "engine": "torch's own",
            "state_bytes": size,
        }

    return explained(optimizer, facts)


def explained(optimizer: Optimizer, facts: Callable[[Tensor, Mapping[str, Any]], Mapping[str, Any]]) -> Explanation:
    """A row for each parameter; ``facts`` gives decay, engine and state_bytes of a parameter and its group."""
    rows = []
    for number, group in enumerate(optimizer.param_groups):
        names = group.get("param_names") or [f"{number}.{k}" for k in range(len(group["params"]))]
        for name, p in zip(names, group["params"], strict=True):
            row = Row(
                name=name,
                shape=tuple(p.shape),
                dtype=str(p.dtype).removeprefix("torch."),
                method=type(optimizer).__name__,
                options={k: v for k, v in group.items() if k not in _NO_OPTIONS},
                lr=None if group.get("lr") is None else float(group["lr"]),
                weight_decay=group.get("weight_decay"),
                wrappers=(),
                **facts(p, group),
            )
            rows.append(row)
    return Explanation(tuple(rows))


_NO_OPTIONS = frozenset({"params", "param_names", "why", "initial_lr", "lr", "weight_decay"})


def decay_text(group: Mapping[str, Any], how: str) -> str:
    """The weight decay in force and how it is applied, or why there is none."""
    value = group.get("weight_decay")
    if value is None:
        return "the method has none"
    return f"{value:g}, {how}" if value else str(group.get("why", "0"))


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:g}"
