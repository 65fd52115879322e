"""What sharpness-aware wrappers cost beyond their second evaluation.

python benchmarks/sharpness.py                              a minute on a quiet machine
python benchmarks/sharpness.py --only sam,asam --rounds 100  a quick look
python benchmarks/sharpness.py --write-docs                 write docs/sharpness.md too

The network is small (4,258 parameters in 11 tensors), so that what is measured is the wrapper's own work and not that
of memory. Steps follow one another in turn, each once a round, so that each finds the caches as an evaluation of the
model leaves them.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # started as a script: the package that it is in is beside the current folder
    sys.path.insert(0, str(ROOT))

import optim_core  # noqa: E402 - after the line above
from benchmarks.contenders import KOZISTR, OURS  # noqa: E402
from benchmarks.environment import environment  # noqa: E402
from benchmarks.report import markdown  # noqa: E402
from benchmarks.timing import no_collections  # noqa: E402
from optim_core.compare.tasks.digits import BATCH_SIZE, digits  # noqa: E402

Step = Callable[[], object]

METHODS = ("sam", "asam", "gsam", "wsam", "looksam")
#: LookSAM evaluates twice every k steps: here at each.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"looksam": {"k": 1}}
SGD: Mapping[str, Any] = {"lr": 0.01, "momentum": 0.9}
BY_HAND = "by hand"
#: Steps before the first round, in which rules are traced and compiled.
WARM_UP = 10
#: How often everyone is made anew.
LIVES = 10


class Setting:
    """A model of its own, and a batch."""

    def __init__(self) -> None:
        task = digits()
        torch.manual_seed(0)
        self.model = task.model()
        self._task, self._batch = task, next(iter(task.batches(0, 0)))

    def loss(self) -> torch.Tensor:
        """The loss on the batch."""
        return self._task.loss(self.model, self._batch)

    def evaluate(self, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        """An evaluation: the loss, and its gradients."""
        optimizer.zero_grad()
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss


def ours(wrapper: str) -> Step:
    """A step of our SGD in a wrapper."""
    setting = Setting()
    base = optim_core.get("sgd")(setting.model.named_parameters(), **SGD)
    optimizer: Any = optim_core.get_wrapper(wrapper)(base, **OPTIONS.get(wrapper, {}))
    return partial(optimizer.minimize, setting.loss)


def our_base() -> Step:
    """An evaluation, and a step of our SGD: what a wrapped step would take if the wrapper's own work took no time."""
    setting = Setting()
    optimizer: Any = optim_core.get("sgd")(setting.model.named_parameters(), **SGD)

    def step() -> None:
        setting.evaluate(optimizer)
        optimizer.minimize(setting.loss)

    return step


def by_hand() -> Step:
    """SAM around our SGD in as few calls of torch as there can be, for these parameters and no others."""
    setting = Setting()
    params: list[torch.Tensor] = list(setting.model.parameters())
    before = [torch.empty_like(p) for p in params]
    optimizer: Any = optim_core.get("sgd")(setting.model.named_parameters(), **SGD)

    def step() -> None:
        setting.evaluate(optimizer)
        gradients: list[Any] = [p.grad for p in params]
        with torch.no_grad():
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).item()
            torch._foreach_copy_(before, params)
            torch._foreach_add_(params, gradients, alpha=0.05 / (norm + 1e-12))
        setting.evaluate(optimizer)
        with torch.no_grad():
            torch._foreach_copy_(params, before)
        optimizer.step()

    return step


def theirs() -> Step:
    """A step of torch's SGD in pytorch_optimizer's SAM."""
    setting = Setting()
    pytorch_optimizer: Any = importlib.import_module("pytorch_optimizer")
    optimizer = pytorch_optimizer.SAM(list(setting.model.parameters()), torch.optim.SGD, **SGD)

    def step() -> None:
        setting.evaluate(optimizer)
        optimizer.step(partial(setting.evaluate, optimizer))

    return step


def their_base() -> Step:
    """Two evaluations, and a step of torch's SGD."""
    setting = Setting()
    optimizer = torch.optim.SGD(setting.model.parameters(), **SGD)

    def step() -> None:
        setting.evaluate(optimizer)
        setting.evaluate(optimizer)
        optimizer.step()

    return step


def timed(makers: Mapping[Any, Callable[[], Step]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each, round by round; all are made anew now and then, as where memory comes to lie is chance."""
    seconds: dict[Any, list[float]] = {name: [] for name in makers}
    order = random.Random(0)  # noqa: S311 - nothing secret
    for _ in range(LIVES):
        steps = {name: make() for name, make in makers.items()}
        for step in steps.values():
            for _ in range(WARM_UP):
                step()
        with no_collections():
            for _ in range(rounds // LIVES):
                for name in order.sample(list(steps), len(steps)):  # nobody always after the same one
                    begin = time.perf_counter()
                    steps[name]()
                    seconds[name].append(time.perf_counter() - begin)
    return seconds


def rows(methods: Sequence[str], rounds: int) -> Iterator[tuple[str, ...]]:
    """A line for each method: its step, what that is made of, and what is left over."""
    makers: dict[Any, Callable[[], Step]] = {OURS: our_base, KOZISTR: their_base, (KOZISTR, "sam"): theirs}
    makers |= {(OURS, name): partial(ours, name) for name in methods} | {(BY_HAND, "sam"): by_hand}
    if importlib.util.find_spec("pytorch_optimizer") is None:
        print("pytorch_optimizer is not installed", file=sys.stderr)
        del makers[KOZISTR], makers[KOZISTR, "sam"]
    seconds = timed(makers, rounds)
    for key, mine in seconds.items():
        if isinstance(key, tuple):
            library, method = key
            base = seconds.get(library, seconds[OURS])
            whole, over = min(mine), min(mine) - min(base)
            paired = statistics.median(a - b for a, b in zip(mine, base, strict=True))
            times = (f"{1e3 * x:.2f}" for x in (whole, min(base), over))
            shares = (100 * over / whole, 100 * paired / statistics.median(mine))
            yield method, library, *times, *(f"{share:.1f} %" for share in shares)


def page(table: str, rounds: int) -> str:
    """What came out, and how."""
    facts = "; ".join(f"{name} {value}" for name, value in environment().items())
    return f"""# The cost of sharpness

Written by `benchmarks/sharpness.py`; to repeat it: `nox -s bench -- sharpness`. A step of the network of the task
`digits` (4,258 parameters in 11 tensors, so small that memory counts for nothing) on a batch of {BATCH_SIZE} with SGD,
momentum 0.9: {rounds} rounds in which all step in turn, of each the least time, in milliseconds. **without** is
the base's own step and one more evaluation (zeroing gradients, loss, backward), timed as one; **overhead** is the
difference, and its share of the step. **typical** is the same share from the median of the differences within a round:
what it is when something else runs too. `looksam` with `k=1`: an excursion at each step. **by hand** is SAM written
out around our SGD in five calls of torch, for these parameters only, without options, groups, hooks or checks: what is
left to gain. pytorch_optimizer's is around torch's SGD.

Machine and versions: {facts}.

{table}"""


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="sharpness.py", description=__doc__)
    parser.add_argument("--only", default=",".join(METHODS), metavar="A,B", help="these methods; default: all")
    parser.add_argument("--rounds", type=int, default=1000, help="default: 1000")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: 1, as the network is small")
    parser.add_argument("--write-docs", action="store_true", help="write docs/sharpness.md too")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # others' deprecations
    torch.set_num_threads(options.threads)
    heads = ("method", "library", "step", "without", "overhead", "of the step", "typical")
    text = page(markdown(heads, list(rows(options.only.split(","), options.rounds))), options.rounds)
    print(text)
    if options.write_docs:
        (ROOT / "docs" / "sharpness.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
