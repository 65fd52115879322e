"""All methods on one set of shapes: as many at a time as memory holds, each with everyone who has it."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

import optim_core
from benchmarks import contenders, traffic
from benchmarks.contenders import OURS, Contender
from benchmarks.results import Absence, Measurement, Method
from benchmarks.shapes import ShapeSet
from benchmarks.timing import Runner, interleave, reason
from optim_core.catalog.specs import Spec

Log = Callable[[str], None]

#: Enough to construct a method and ask what it declares.
ONE = ShapeSet("one", layers=1, width=2)


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        rounds: of each batch, at least.
        patience: seconds after which a slow contender sits the remaining rounds out.
        memory: bytes that the contenders of one batch may hold; one method is measured whatever it holds.
        engines: of our own optimizers.
        compiled: pytorch-optimizer under torch.compile as well.
    """

    rounds: int
    patience: float
    memory: int
    engines: tuple[str, ...]
    compiled: bool


def measure(
    shape_set: ShapeSet, specs: Sequence[Spec], plan: Plan, log: Log
) -> Iterator[tuple[list[Measurement], list[Absence]]]:
    """Time every contender of every method; what each batch found, once it is done."""
    waiting = deque(specs)
    while waiting:
        fixed = [Runner.start(c, shape_set.parameters()) for c in (contenders.baseline(), contenders.copy())]
        batch: list[Runner] = []
        absences: list[Absence] = []
        while waiting and (not batch or _next_fits([*fixed, *batch], plan.memory)):
            spec = waiting.popleft()
            for contender in contenders.contenders(spec, plan.engines, compiled=plan.compiled):
                log(f"{shape_set.name}: {contender}")
                try:
                    batch.append(Runner.start(contender, shape_set.parameters()))
                except Exception as error:  # noqa: BLE001 - others' code: it is skipped, the rest goes on
                    absences.append(_absent(shape_set, contender, reason(error)))
        for done in interleave([*fixed, *batch], plan.rounds, patience=plan.patience):
            log(f"  round {done} of {plan.rounds}")
        for runner in batch:
            runner.finish()
        absences += [_absent(shape_set, r.contender, r.failure) for r in batch if r.failure]
        yield [_measured(shape_set, r, *fixed) for r in batch if not r.failure], absences
        del batch, fixed
        gc.collect()
        torch.compiler.reset()  # what was compiled for these optimizers serves nobody else


def _next_fits(runners: Sequence[Runner], memory: int) -> bool:
    """Whether another method may join: taken to hold as much as the largest so far."""
    held: dict[str, int] = {}
    for r in runners:
        held[r.contender.method] = held.get(r.contender.method, 0) + r.held
    return sum(held.values()) + max(held.values()) <= memory


def _absent(shape_set: ShapeSet, contender: Contender, why: str) -> Absence:
    return Absence(
        shapes=shape_set.name,
        method=contender.method,
        library=contender.library,
        setting=contender.setting,
        reason=why,
    )


def _measured(shape_set: ShapeSet, runner: Runner, baseline: Runner, copy: Runner) -> Measurement:
    contender, optimizer = runner.contender, runner.started.optimizer
    engine = next(iter(optim_core.explain(optimizer))).engine if optimizer and contender.library == OURS else ""
    return Measurement(
        shapes=shape_set.name,
        method=contender.method,
        library=contender.library,
        setting=contender.setting,
        seconds=runner.seconds,
        baseline=min(baseline.seconds),
        copy_rate=contenders.copied_bytes() / min(copy.seconds),
        first=runner.first,
        extra_bytes=runner.extra_bytes,
        engine=engine,
    )


def described(spec: Spec, shape_sets: Sequence[ShapeSet]) -> Method:
    """What is known of a method apart from any time.

    Raises:
        Exception: whatever its constructor or its rule raises.
    """
    contender = contenders.contenders(spec, ("auto",), compiled=False)[0]
    optimizer = contender.start(ONE.parameters()).optimizer
    return Method(
        name=spec.name,
        work=traffic.work_of(optimizer, [shape for s in shape_sets for shape in s.shapes]),
        bytes_moved={s.name: traffic.bytes_moved(optimizer, s.shapes) for s in shape_sets},
        given=contenders.provided(spec),
    )
