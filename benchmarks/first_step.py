"""The first step of a fresh process, in which update rules are traced and compiled.

Each measurement is a process of its own with a cache folder of its own: empty for a rule that was never seen, as the
first process left it for one from the cache. Imports and the making of parameters are not counted.

python -m benchmarks.first_step NAME TENSORS    measures in this process (torch:adamw: torch.compile), prints JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.results import FirstStep

ROOT = Path(__file__).resolve().parent.parent
COUNTS = (10, 400)
#: Where our native engine and torch.compile keep what they compiled.
CACHES = ("OPTIM_CORE_CACHE", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
TIMEOUT = 1800.0
COMPILED_TORCH = "torch:adamw"
#: One without reductions, one with norms, one with sums over the model: those of them that are installed.
RULES = ("adamw", "lamb", "prodigy")


def first_steps(names: tuple[str, ...], counts: tuple[int, ...] = COUNTS) -> Iterator[FirstStep]:
    """Measure each name with each number of tensors: never seen, then from the cache."""
    for name in names:
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                yield from (_in_fresh_process(name, count, Path(folder), cached=cached) for cached in (False, True))


def _in_fresh_process(name: str, count: int, folder: Path, *, cached: bool) -> FirstStep:
    environment = os.environ | {variable: str(folder / variable.lower()) for variable in CACHES}
    command = [sys.executable, "-m", "benchmarks.first_step", name, str(count)]
    what = f"torch.compile of {name}" if name == COMPILED_TORCH else name
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
        seconds, second = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
        return FirstStep(what=what, tensors=count, cached=cached, seconds=None, failure=last[-1][:200])
    except subprocess.TimeoutExpired:
        return FirstStep(what=what, tensors=count, cached=cached, seconds=None, failure=f"longer than {TIMEOUT:g} s")
    return FirstStep(what=what, tensors=count, cached=cached, seconds=seconds, second=second)


def timed(name: str, count: int) -> tuple[float, float]:
    """Seconds of the first and of the second step, in this process."""
    import torch

    import optim_core

    params = [torch.nn.Parameter(torch.randn(64, 64)) for _ in range(count)]
    for p in params:
        p.grad = torch.randn_like(p)
    cls: Any = optim_core.get(name)
    optimizer = cls(params)
    step = torch.compile(optimizer.step) if name == COMPILED_TORCH else optimizer.step
    took = []
    for _ in range(2):
        begin = time.perf_counter()
        step()
        took.append(time.perf_counter() - begin)
    return took[0], took[1]


if __name__ == "__main__":
    json.dump(timed(sys.argv[1], int(sys.argv[2])), sys.stdout)
