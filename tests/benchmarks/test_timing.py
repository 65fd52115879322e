"""The order in which contenders step; nothing here is timed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import optim_core
from benchmarks import (
    contenders,
    measure,
    memory,
    timing,
)
from benchmarks.contenders import OURS, TORCH, Contender, Started
from benchmarks.shapes import ShapeSet

TINY = ShapeSet("tiny", layers=1, width=4)


def recorded(log: list[str], name: str, after: int = 10**9) -> timing.Runner:
    def step() -> None:
        log.append(name)
        if log.count(name) > after:
            raise RuntimeError("no more\nof this")

    contender = Contender(name, OURS, "", lambda _: Started(step))
    return timing.Runner(contender, Started(step), [])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock on which every step takes 15 ms: two to a turn."""
    monkeypatch.setattr(timing, "PAUSE", 0)
    ticks = itertools.count()
    return lambda: 0.015 * next(ticks)


def test_contenders_step_in_turn(clock: Any) -> None:
    log: list[str] = []
    runners = [recorded(log, name) for name in "abc"]
    assert list(timing.interleave(runners, 2, clock=clock)) == [1, 2]
    assert "".join(log) == "aabbcc" * 2
    assert [r.seconds for r in runners] == [[pytest.approx(0.015)] * 2] * 3


def test_slow_contenders_sit_out(clock: Any) -> None:
    log: list[str] = []
    list(timing.interleave([recorded(log, "a")], 9, patience=0.05, clock=clock))
    assert len(log) == 2 * 4
    list(timing.interleave([recorded(log, "b")], 9, patience=0, clock=clock))
    assert log.count("b") == 2 * timing.LEAST


def test_who_fails_is_set_aside(clock: Any) -> None:
    log: list[str] = []
    bad, good = recorded(log, "b", after=2), recorded(log, "g")
    list(timing.interleave([bad, good], 3, clock=clock))
    assert bad.failure == "RuntimeError: no more of this"
    assert "".join(log) == "bbggbgggg"
    bad.finish()
    assert bad.extra_bytes is None


def test_who_does_not_move_is_found_out() -> None:
    params = TINY.parameters()
    for p in params:
        p.grad = torch.zeros_like(p)
    idle = Contender("sgd", TORCH, "", lambda ps: Started((o := torch.optim.SGD(ps)).step, o))
    runner = timing.Runner.start(idle, params)
    runner.finish()
    assert runner.failure == "its steps do not move the parameters"


def test_batches_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "_COPY_BYTES", 1 << 12)
    specs = [optim_core.info(name) for name in ("adamw", "lion", "sgd")]
    log: list[str] = []
    plan = measure.Plan(rounds=1, patience=9, memory=1, engines=("eager",), compiled=False)
    batches = list(measure.measure(TINY, specs, plan, log.append))
    assert [{m.method for m in found} for found, _ in batches] == [{"adamw"}, {"lion"}, {"sgd"}]
    plan = measure.Plan(rounds=1, patience=9, memory=1 << 30, engines=("eager",), compiled=False)
    ((found, absences),) = list(measure.measure(TINY, specs, plan, log.append))
    assert {m.method for m in found} == {"adamw", "lion", "sgd"}
    assert not [a for a in absences if a.library in (OURS, TORCH)]
    assert all(len(m.seconds) == 1 and m.baseline > 0 and m.copy_rate > 0 for m in found)


def test_extra_memory_sees_what_is_freed_again() -> None:
    grown = memory.extra_memory(lambda: torch.zeros(1 << 24).sum())
    assert grown is None or 6e7 < grown < 8e7
