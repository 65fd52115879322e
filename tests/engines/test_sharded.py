"""Parameters in parts on several processes (DTensor): they move as whole ones do, or are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed
from support import TESTS
from torch.nn import Parameter

import optim_core
from optim_core.optimizers.optimizer import RuleOptimizer

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
PROCESSES = 2


def outcomes(kind: str, folder: Path) -> dict[str, str]:
    """What the processes have found, by name."""
    python = [sys.executable, "-W", "ignore"]
    commands = [
        [*python, "-m", "support.sharded_processes", kind, str(rank), str(PROCESSES), str(folder / "rendezvous")]
        for rank in range(PROCESSES)
    ]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(c, cwd=TESTS, stdout=pipe, stderr=pipe, text=True) for c in commands]
    said = [process.communicate(timeout=600) for process in running]
    assert all(process.returncode == 0 for process in running), [err[-2000:] for _, err in said]
    found: dict[str, str] = json.loads(said[0][0].splitlines()[-1])
    return found


def has_stacks(name: str) -> bool:
    """Whether a method works on whole matrices."""
    optimizer = optim_core.get(name)([Parameter(torch.ones(4, 3))])
    return isinstance(optimizer, RuleOptimizer) and optimizer.stacks()


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
@pytest.mark.parametrize("kind", ["optimizer", "model"])
def test_every_method(tmp_path: Path, kind: str) -> None:
    found = outcomes(kind, tmp_path)
    refused = {name: said for name, said in found.items() if said.startswith("UnsupportedParameter")}
    graphless = {name for name, said in found.items() if said.startswith("GraphMissing")}
    assert {name: said for name, said in found.items() if said != "same" and name not in {*refused, *graphless}} == {}
    assert all("works on whole matrices" in said and "do not shard" in said for said in refused.values())
    specs = optim_core.find(kind="optimizer")
    assert set(refused) == {spec.name for spec in specs if "total_steps" not in spec.needs and has_stacks(spec.name)}
    # FSDP reduces gradients without a graph of their own
    assert graphless == {spec.name for spec in specs if kind == "model" and "create_graph" in spec.needs}


def test_every_wrapper(tmp_path: Path) -> None:
    found = outcomes("wrapper", tmp_path)
    assert {name: said for name, said in found.items() if said != "same"} == {}
