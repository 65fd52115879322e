"""Tasks whose batch is spread over ranks: each step is that of one process with the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.methods import wrappers

pytest.importorskip("optim_core_multitask")

TESTS = Path(__file__).resolve().parents[2]
NAMES = [spec.name for spec in wrappers() if "multi_loss" in spec.needs]


def run(processes: int, folder: Path) -> dict[str, Any]:
    python = [sys.executable, "-W", "ignore", "-m", "support.multitask_processes"]
    running = [
        subprocess.Popen(
            [*python, str(rank), str(processes), str(folder / "rendezvous"), *NAMES],
            cwd=TESTS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [process.communicate(timeout=300) for process in running]
    assert all(process.returncode == 0 for process in running), [err[-3000:] for _, err in said]
    found: dict[str, Any] = json.loads(said[0][0].splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(2, tmp_path_factory.mktemp("spread"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(1, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("name", NAMES)
def test_replicas_stay_the_same(name: str, spread: dict[str, Any]) -> None:
    first, second = spread[name]
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_ranks_step_as_one_process_with_the_whole_batch(
    name: str, spread: dict[str, Any], whole: dict[str, Any]
) -> None:
    assert spread[name][0] == pytest.approx(whole[name][0], rel=1e-9, abs=1e-12)


def test_distributed_data_parallel_has_to_leave_gradients_alone(spread: dict[str, Any]) -> None:
    assert spread["refusals"]
    for text in spread["refusals"]:
        assert "`with model.no_sync(): optimizer.minimize(closure)`" in text
