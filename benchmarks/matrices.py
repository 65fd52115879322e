"""Methods on matrices: time beside torch's and pytorch_optimizer's, where it goes, and how it grows.

python benchmarks/matrices.py                            everything: half an hour on a quiet machine
python benchmarks/matrices.py --only muon --rounds 3     a quick look
python benchmarks/matrices.py --write-docs               write docs/matrices.md too

Three questions, each with a table: is it slower than another library's at the same rhythm of recomputation; what share
of a step is spent inside the matrix routines of BLAS and LAPACK; do time and memory grow in proportion to the model.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import Parameter

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # started as a script: the package that it is in is beside the current folder
    sys.path.insert(0, str(ROOT))

import optim_core  # noqa: E402 - after the line above
from benchmarks.contenders import KOZISTR, OURS, TORCH, Contender, Started  # noqa: E402
from benchmarks.environment import environment  # noqa: E402
from benchmarks.memory import extra_memory  # noqa: E402
from benchmarks.shapes import Shape  # noqa: E402
from benchmarks.timing import Runner, interleave, reason  # noqa: E402

Options = Mapping[str, Any]
Make = Callable[[list[Parameter]], torch.optim.Optimizer]

#: torch operations that hand their work to BLAS or LAPACK, by the names that torch's profiler has for them.
ROUTINES = frozenset(
    {"mm", "addmm", "bmm", "baddbmm", "_linalg_eigh", "linalg_qr", "linalg_solve_triangular", "_linalg_svd"}
)


@dataclass(frozen=True)
class Case:
    """A method, how others call its options, and the matrices for it.

    Attributes:
        method: its name in the registry.
        sets: the matrices: how many of which shape.
        interval: steps from one recomputation to the next; a time is the mean over as many steps.
        ours: our options.
        theirs: by library its class, its options, and what tells them from other settings.
    """

    method: str
    sets: tuple[tuple[int, Shape], ...]
    interval: int
    ours: Options
    theirs: tuple[tuple[str, str, str, Options], ...] = ()

    def contenders(self) -> list[Contender]:
        """Everyone, ours first."""
        found = [Contender(self.method, OURS, "", partial(self._started, _ours(self)))]
        for library, name, setting, options in self.theirs:
            make = partial(_theirs, library, name, options)
            found.append(Contender(self.method, library, setting, partial(self._started, make)))
        return found

    def _started(self, make: Make, params: list[Parameter]) -> Started:
        optimizer = make(params)

        def steps() -> None:
            for _ in range(self.interval):
                optimizer.step()

        return Started(steps, optimizer)


_MUON = ((24, (512, 512)), (24, (512, 2048)))
_OTHERS = ((24, (256, 256)), (24, (128, 512)))
CASES = (
    Case(
        "muon",
        _MUON,
        1,
        {},
        # its ns_method="gram_newton_schulz" is for GPUs: 1.6 s a matrix of 512 x 512 on a CPU
        ((TORCH, "Muon", "", {}), (KOZISTR, "Muon", "", {"use_muon": True})),
    ),
    Case("soap", _OTHERS, 10, {"precondition_frequency": 10}, ((KOZISTR, "SOAP", "", {"precondition_frequency": 10}),)),
    Case(
        "shampoo",
        _OTHERS,
        10,
        {"update_freq": 10},
        ((KOZISTR, "Shampoo", "", {"preconditioning_compute_steps": 10}),),
    ),
    Case(
        "scalableshampoo",
        _OTHERS,
        10,
        {"preconditioning_compute_steps": 10, "block_size": 128},
        (
            (
                KOZISTR,
                "ScalableShampoo",
                "",
                {"preconditioning_compute_steps": 10, "start_preconditioning_step": 1, "block_size": 128},
            ),
        ),
    ),
    Case("distributedshampoo", _OTHERS, 10, {"precondition_frequency": 10}),
    Case(
        "kron",
        _OTHERS,
        1,
        {"preconditioner_update_probability": 1.0},
        ((KOZISTR, "Kron", "", {"pre_conditioner_update_probability": 1.0}),),
    ),
)
#: Calls before the first round: the first bases and roots are found in them.
_WARM_UP = 2
#: What each method is profiled on with its default options.
_PROFILED = (8, (512, 512))
#: Shapes on which growth is looked at, and how many of them.
GROWTH_SHAPE, GROWTH_COUNTS = (128, 256), (8, 16, 32, 64)


def _ours(case: Case) -> Make:
    return partial(optim_core.get(case.method), **case.ours)


def _theirs(library: str, name: str, options: Options, params: list[Parameter]) -> torch.optim.Optimizer:
    namespace = torch.optim if library == TORCH else __import__(library)
    group = {"params": params, **{k: v for k, v in options.items() if k.startswith("use_")}}
    made: torch.optim.Optimizer = getattr(namespace, name)(
        [group], **{k: v for k, v in options.items() if not k.startswith("use_")}
    )
    return made


def parameters(count: int, shape: Shape) -> list[Parameter]:
    """So many matrices with gradients, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(0.1 * torch.randn(shape, generator=generator)) for _ in range(count)]
    for p in params:
        p.grad = 0.01 * torch.randn(shape, generator=generator)
    return params


@dataclass
class Findings:
    """What came out, as rows of the three tables."""

    times: list[dict[str, str]] = field(default_factory=list)
    shares: list[dict[str, str]] = field(default_factory=list)
    growth: list[dict[str, str]] = field(default_factory=list)


# is it slower? -------------------------------------------------------------------------------------------------
def compared(case: Case, rounds: int, log: Callable[[str], None]) -> Iterable[dict[str, str]]:
    """Time a case beside everyone who has it."""
    for count, shape in case.sets:
        runners = []
        for contender in case.contenders():
            try:
                runners.append(Runner.start(contender, parameters(count, shape), _WARM_UP))
            except Exception as error:  # noqa: BLE001 - others' code: it is skipped, the rest goes on
                log(f"{contender}: {reason(error)}")
        for done in interleave(runners, rounds):
            log(f"{case.method} {count} x {shape}: round {done} of {rounds}")
        ours, *others = runners
        mine = min(ours.seconds) / case.interval
        for runner in others:
            seconds = min(runner.seconds) / case.interval
            yield {
                "method": case.method,
                "matrices": _words(count, shape),
                "every": str(case.interval),
                "ms": f"{1e3 * mine:.1f}",
                "other": " ".join(filter(None, (runner.contender.library, runner.contender.setting))),
                "its ms": runner.failure or f"{1e3 * seconds:.1f}",
                "faster by": f"{seconds / mine:.2f} x",
            }
        if not others:
            yield {
                "method": case.method,
                "matrices": _words(count, shape),
                "every": str(case.interval),
                "ms": f"{1e3 * mine:.1f}",
                "other": "",
                "its ms": "",
                "faster by": "",
            }


# where does it go? ---------------------------------------------------------------------------------------------
def profiled(case: Case) -> Iterable[dict[str, str]]:
    """The share of an interval of steps that is spent inside the matrix routines: as compared, and by default."""
    usual = replace(case, ours={}, sets=(_PROFILED,))
    for one, count, shape in ((c, *s) for c in (case, usual) for s in c.sets):
        started = one.contenders()[0].start(parameters(count, shape))
        for _ in range(_WARM_UP):
            started.step()
        inside, parts = max((_share(started.step) for _ in range(3)), key=lambda share: share[0])
        options = ", ".join(f"{name}={value}" for name, value in one.ours.items())
        yield {
            "method": case.method,
            "matrices": _words(count, shape),
            "options": options or "defaults",
            "inside": f"{inside:.0%}",
            "of it": ", ".join(f"{name} {part:.0%}" for name, part in parts.items() if part >= 0.005),
        }


def _share(step: Callable[[], object]) -> tuple[float, dict[str, float]]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        begin = time.perf_counter()
        step()
        whole = time.perf_counter() - begin
    spent: dict[str, float] = {}
    for event in profile.key_averages():
        name = event.key.removeprefix("aten::")
        if name in ROUTINES:
            spent[name] = event.self_cpu_time_total / 1e6 / whole
    by_size = sorted(spent.items(), key=lambda pair: -pair[1])
    return sum(spent.values()), dict(by_size)


# how does it grow? ---------------------------------------------------------------------------------------------
def grown(case: Case, rounds: int) -> Iterable[dict[str, str]]:
    """Time, state and extra memory for more and more matrices of one shape."""
    contender = case.contenders()[0]
    runners = [Runner.start(contender, parameters(count, GROWTH_SHAPE), _WARM_UP) for count in GROWTH_COUNTS]
    for _ in interleave(runners, rounds):
        pass
    for count, runner in zip(GROWTH_COUNTS, runners, strict=True):
        optimizer: Any = runner.started.optimizer
        states = sum(x.nbytes for s in optimizer.state.values() for x in _tensors(s))
        extra = extra_memory(runner.started.step)
        yield {
            "method": case.method,
            "matrices": _words(count, GROWTH_SHAPE),
            "ms a matrix": f"{1e3 * min(runner.seconds) / case.interval / count:.3f}",
            "state, MB": f"{states / 1e6:.2f}",
            "declared, MB": f"{optimizer.state_bytes() / 1e6:.2f}",
            "extra, MB": "" if extra is None else f"{extra / 1e6:.1f}",
        }


def _tensors(state: Mapping[str, Any]) -> list[torch.Tensor]:
    several = (x if isinstance(x, list) else [x] for x in state.values())
    return [x for xs in several for x in xs if isinstance(x, torch.Tensor) and x.dtype is not torch.uint8]


def _words(count: int, shape: Shape) -> str:
    return f"{count} of {' x '.join(map(str, shape))}"


# the page ------------------------------------------------------------------------------------------------------
def page(found: Findings, rounds: int) -> str:
    """What came out, and how."""
    facts = "; ".join(f"{name} {value}" for name, value in environment().items())
    return f"""# Methods on matrices

Written by `benchmarks/matrices.py`; to repeat it: `nox -s bench -- matrices`. float32, fixed gradients, {rounds} rounds
in which all contenders of a row step in turn; of each the least time counts. Products of matrices, QR and
eigenvectors are BLAS and LAPACK for everyone, so what differs is how often they are called, on what, and what happens
between.

Machine and versions: {facts}.

## Beside torch and pytorch_optimizer

Milliseconds a step, in the mean over an interval from one recomputation to the next (**every** so many steps).

{_table(found.times)}

## Where the time goes

Share of an interval's time that torch's profiler finds inside the matrix routines; the largest of three. The routines
take a time in proportion to the cube of a side, all else to its square, so the share grows with the matrices and falls
where roots are seldom taken. Averages, directions and steps run in the engines between the calls.

{_table(found.shares)}

## How it grows

{_table(found.growth)}

**declared** is what the spec says of the state's memory (`optim-core show NAME` prints it); **extra** is the most
memory that a step needs beside parameters, gradients and states: stacks are bounded, so it does not grow with the model
for good.
"""


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    if not rows:
        return "Not measured."
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="matrices.py", description=__doc__)
    parser.add_argument("--only", default="", metavar="A,B", help="these methods; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument("--write-docs", action="store_true", help="write docs/matrices.md too")
    options = parser.parse_args(argv)
    logging.getLogger().setLevel(logging.WARNING)
    warnings.simplefilter("ignore")  # others' deprecations
    began = time.monotonic()

    def log(text: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {text}", file=sys.stderr, flush=True)

    found = Findings()
    for case in CASES:
        if options.only and case.method not in options.only.split(","):
            continue
        found.times += compared(case, options.rounds, log)
        found.shares += profiled(case)
        found.growth += grown(case, options.rounds)
    text = page(found, options.rounds)
    print(text)
    if options.write_docs:
        (ROOT / "docs" / "matrices.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
