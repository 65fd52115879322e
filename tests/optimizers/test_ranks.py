"""Replicas that train together stay the same, whatever of a step is a rank's own: losses, seeds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.methods import optimizers

from optim_core.catalog.registry import load_class
from optim_core.optimizers import RuleOptimizer

TESTS = Path(__file__).resolve().parents[1]
PROCESSES = 2


def methods() -> list[str]:
    """Those that take the loss, or that draw: what all may do is tested with them."""
    mine = optimizers(without=("total_steps", "create_graph"))
    ours = [spec for spec in mine if issubclass(load_class(spec), RuleOptimizer)]
    return [s.name for s in ours if "loss" in s.needs or load_class(s).method.extras or s.name == "gravity"]


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
def test_replicas_stay_the_same(tmp_path: Path) -> None:
    python = [sys.executable, "-W", "ignore", "-m", "support.rank_processes"]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(
            [*python, str(rank), str(PROCESSES), str(tmp_path / "rendezvous"), *methods()],
            cwd=TESTS,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    said = [process.communicate(timeout=300) for process in running]
    assert all(process.returncode == 0 for process in running), [err[-2000:] for _, err in said]
    found: dict[str, list[list[float]]] = json.loads(said[0][0].splitlines()[-1])
    apart = found.pop("alig, by itself")
    assert apart[0] != apart[1]  # so the others tell something
    assert {"alig", "gravity"} <= set(found)
    assert [numbers[-1] for numbers in found["left out"]] == [1, 1]  # though one rank alone had to
    assert [name for name, (first, second) in found.items() if first != second] == []
