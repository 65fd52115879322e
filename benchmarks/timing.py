"""Rounds: every contender steps in turn, round after round, and of each the least time counts.

On a shared machine noise only ever adds, and it comes and goes over seconds: interleaving spreads it over all, the
least of several rounds leaves it behind, and a ratio to a contender of the same rounds cancels what is left.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch.nn import Parameter

from benchmarks.contenders import Contender, Started
from benchmarks.memory import extra_memory

Clock = Callable[[], float]

#: A turn steps until this much time has gone by, and its fastest step counts: short steps find their data back in
#: the caches that the others took, as they would in training; a step longer than this is made once.
TURN = 0.02
#: Between turns: threads that wait for work spin for a while, and would take the next contender's cores.
PAUSE = 0.005
#: Steps before the first round: the first allocates, traces and compiles; in the next ones some methods do less than
#: later (RAdam in five, AdaShift in ten), and the least time would be theirs. They end where one takes LONG seconds.
WARM_UP, LONG = 12, 5.0
#: So many rounds everyone makes, however slow.
LEAST = 3


@dataclass
class Runner:
    """A contender at work.

    Attributes:
        contender: who.
        started: its optimizer.
        params: its parameters.
        first: seconds of its first step.
        seconds: the fastest step of each turn so far.
        failure: why it works no more; empty while it does.
        extra_bytes: peak memory of a step beside what is kept, once measured.
    """

    contender: Contender
    started: Started
    params: list[Parameter]
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    failure: str = ""
    extra_bytes: int | None = None
    _samples: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def start(cls, contender: Contender, params: list[Parameter], warm_up: int = WARM_UP) -> Runner:
        """Build the optimizer and do the first steps, which allocate, trace and compile.

        Args:
            contender: what is measured.
            params: its parameters.
            warm_up: how many steps, unless they take long.

        Raises:
            Exception: whatever the optimizer raises.
        """
        samples = [p.detach().clone() for p in params[:2]]
        runner = cls(contender, contender.start(params), params, _samples=samples)
        begin = time.perf_counter()
        runner.started.step()
        runner.first = time.perf_counter() - begin
        for _ in range(warm_up - 1):
            begin = time.perf_counter()
            runner.started.step()
            if time.perf_counter() - begin > LONG:
                break
        return runner

    @property
    def held(self) -> int:
        """Bytes of parameters, gradients and states."""
        return self.started.held(self.params)

    def patient(self, patience: float) -> bool:
        """Whether it takes part in another round: it works, and its fastest steps, one a round, fit into a time."""
        if self.failure:
            return False
        return len(self.seconds) < LEAST or len(self.seconds) * min(self.seconds) < patience

    def turn(self, clock: Clock = time.perf_counter) -> None:
        """Step for a while, and note the fastest step."""
        step, best, spent = self.started.step, float("inf"), 0.0
        try:
            while spent < TURN:
                begin = clock()
                step()
                elapsed = clock() - begin
                best, spent = min(best, elapsed), spent + elapsed
        except Exception as error:  # noqa: BLE001 - others' code: it is skipped, the rest goes on
            self.failure = reason(error)
            return
        self.seconds.append(best)

    def finish(self) -> None:
        """Measure memory; see that the steps have done something."""
        if self.failure:
            return
        now = self.params[: len(self._samples)]
        if self.started.optimizer is not None and all(map(torch.equal, self._samples, now)):
            self.failure = "its steps do not move the parameters"
            return
        self.extra_bytes = extra_memory(self.started.step)


def reason(error: Exception) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}{'...' if len(text) > 160 else ''}".removesuffix(": ")


def interleave(
    runners: Sequence[Runner], rounds: int, *, patience: float = float("inf"), clock: Clock = time.perf_counter
) -> Iterator[int]:
    """Let all take turns, round after round.

    Args:
        runners: who takes part.
        rounds: how many rounds.
        patience: seconds; whose fastest steps, one a round, take longer together sits the remaining rounds out.
        clock: tells the time.

    Yields:
        The number of each round that is done.
    """
    with no_collections():
        for done in range(1, rounds + 1):
            for runner in runners:
                if runner.patient(patience):
                    time.sleep(PAUSE)
                    runner.turn(clock)
            yield done


@contextmanager
def no_collections() -> Iterator[None]:
    """Without the garbage collector, as timeit does it: whose turn it strikes is chance."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
