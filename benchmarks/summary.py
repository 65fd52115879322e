"""From measurements to one line a method, and from the lines to what was aimed at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.contenders import COMPILED, KOZISTR, OURS, TORCH
from benchmarks.results import Measurement, Method, Results

#: What a step may take, as a multiple of fused AdamW's time scaled by the bytes to move.
TARGETS = {"elementwise": 1.15, "reductions": 2.3}


@dataclass(frozen=True)
class Line:
    """One method on one set of shapes.

    Attributes:
        method: what is known of it.
        ours: our time.
        torch: torch's settings, the fastest first.
        kozistr: pytorch-optimizer's settings, the fastest first, without those under torch.compile.
        compiled: pytorch-optimizer under torch.compile.
        bytes_ratio: bytes it must move, as a multiple of fused AdamW's; None where they are not known.
    """

    method: Method
    ours: Measurement
    torch: Sequence[Measurement]
    kozistr: Sequence[Measurement]
    compiled: Measurement | None
    bytes_ratio: float | None

    @property
    def scaled(self) -> float | None:
        """Our time as a multiple of what fused AdamW would need for as many bytes."""
        return self.ours.ratio / self.bytes_ratio if self.bytes_ratio else None

    @property
    def target(self) -> float | None:
        """What ``scaled`` should not exceed; None for work that is more than memory traffic."""
        return TARGETS.get(self.method.work)

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.scaled is None or self.target is None else self.scaled <= self.target

    @property
    def bandwidth(self) -> float | None:
        """Bytes moved over time, as a share of the rate of a copy."""
        moved = self.method.bytes_moved.get(self.ours.shapes)
        return moved / self.ours.best / self.ours.copy_rate if moved else None

    def gain(self, other: Measurement) -> float:
        """How many times faster ours is than another."""
        return other.ratio / self.ours.ratio


def lines(results: Results, shapes: str) -> list[Line]:
    """A line for each method that was measured on these shapes, the fastest first."""
    found = []
    for method in results.methods:
        mine = [m for m in results.measurements if m.shapes == shapes and m.method == method.name]
        # the first engine asked for is the one that is compared
        ours = [m for m in mine if m.library == OURS and m.setting == results.engines[0]]
        if not ours:
            continue
        moved, theirs = method.bytes_moved.get(shapes), results.baseline_bytes.get(shapes)
        found.append(
            Line(
                method=method,
                ours=ours[0],
                torch=_fastest(m for m in mine if m.library == TORCH),
                kozistr=_fastest(m for m in mine if m.library == KOZISTR and m.setting != COMPILED),
                compiled=next((m for m in mine if m.library == KOZISTR and m.setting == COMPILED), None),
                bytes_ratio=moved / theirs if moved and theirs else None,
            )
        )
    return sorted(found, key=lambda line: line.ours.ratio)


def _fastest(measurements: Iterable[Measurement]) -> list[Measurement]:
    return sorted(measurements, key=lambda m: m.ratio)


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios.

    Example:
        >>> geometric_mean([2.0, 8.0])
        4.0
    """
    logs = [math.log(v) for v in values]
    return round(math.exp(sum(logs) / len(logs)), 12) if logs else math.nan


def verdicts(found: Sequence[Line]) -> list[str]:
    """What the lines of one set of shapes say, in sentences."""
    said = []
    for work, words in (("elementwise", "elementwise methods"), ("reductions", "methods with reductions")):
        judged = [line for line in found if line.method.work == work and line.reached is not None]
        missed = [f"{line.method.name} ({line.scaled:.2f})" for line in judged if not line.reached]
        if judged:
            over = f"; above it: {', '.join(missed)}" if missed else ""
            met = len(judged) - len(missed)
            said.append(
                f"{met} of {len(judged)} {words} take at most {TARGETS[work]} x the time of fused AdamW for as many "
                f"bytes{over}."
            )
    for words, others in (
        ("pytorch_optimizer at its fastest setting", [next(iter(line.kozistr), None) for line in found]),
        ("pytorch_optimizer under torch.compile", [line.compiled for line in found]),
        ("torch's own classes at their fastest", [next(iter(line.torch), None) for line in found]),
    ):
        gains = {line.method.name: line.gain(m) for line, m in zip(found, others, strict=True) if m is not None}
        if gains:
            slower = [f"{name} ({gain:.2f})" for name, gain in sorted(gains.items(), key=lambda x: x[1]) if gain < 1]
            behind = f"; slower: {', '.join(slower)}" if slower else ""
            said.append(
                f"Against {words}: {geometric_mean(gains.values()):.2f} x as fast in the geometric mean of "
                f"{len(gains)} methods{behind}."
            )
    return said
