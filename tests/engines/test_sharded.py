"""Parameters in parts on several processes (DTensor): they move as whole ones do, or are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from support import TESTS
from support.methods import works_on_matrices
from support.wrappers import base_only_specs

import optim_core
from optim_core.catalog.registry import load_class
from optim_core.engines.sharded import SINCE
from optim_core.errors import UnsupportedParameter
from optim_core.optimizers import gradients

distributed = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
recent = pytest.mark.skipif(torch.__version__ < SINCE, reason="torch is too old for sharded parameters")
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


class Shard(torch.nn.Parameter):
    """What looks like a DTensor."""

    def full_tensor(self) -> torch.Tensor:
        return self.data


@pytest.mark.parametrize(
    "build",
    [optim_core.get("adamw"), lambda params: optim_core.get_wrapper("cautious")(torch.optim.SGD(params, lr=0.1))],
    ids=["a rule", "a wrapper around torch's"],
)
def test_an_older_torch_is_told(monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    monkeypatch.setattr(gradients, "SINCE", "99.1")
    build([torch.nn.Parameter(torch.zeros(2))])
    with pytest.raises(UnsupportedParameter, match=r"need torch 99\.1 or newer, and this is .*: update torch"):
        build([Shard(torch.zeros(2))])


@distributed
@recent
@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
@pytest.mark.parametrize("kind", ["optimizer", "model"])
def test_every_method(tmp_path: Path, kind: str) -> None:
    found = outcomes(kind, tmp_path)
    refused = {name: said for name, said in found.items() if said.startswith("UnsupportedParameter")}
    graphless = {name for name, said in found.items() if said.startswith("GraphMissing")}
    assert {name: said for name, said in found.items() if said != "same" and name not in {*refused, *graphless}} == {}
    assert all("works on whole matrices" in said and "do not shard" in said for said in refused.values())
    specs = optim_core.find(kind="optimizer")
    assert set(refused) == {spec.name for spec in specs if works_on_matrices(load_class(spec))}
    # FSDP reduces gradients without a graph of their own
    assert graphless == {spec.name for spec in specs if kind == "model" and "create_graph" in spec.needs}


@distributed
@recent
def test_every_wrapper(tmp_path: Path) -> None:
    found = outcomes("wrapper", tmp_path)
    releasing = {spec.name for spec in base_only_specs() if getattr(load_class(spec), "releases", False)}
    refused = {name for name, said in found.items() if "processes that train together exchange gradients" in said}
    assert {name.partition(" ")[0] for name in refused} == releasing
    assert {name: said for name, said in found.items() if said != "same" and name not in refused} == {}
