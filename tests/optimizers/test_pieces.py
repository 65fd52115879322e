"""Hosts that leave each process with pieces of a model: every method and wrapper is right under them, or refused."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small
from support.host_table import REASONS, assert_column
from support.kinds import BY_REACH, Kind, all_kinds
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import UnsupportedParameter
from optim_core.optimizers import pieces
from optim_core.rules import Level

TESTS = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


def outcomes(host: str, folder: Path) -> dict[str, str]:
    """What comes of each kind in two processes, by its name."""
    python = [sys.executable, "-W", "ignore", "-m", "support.piece_processes", host]
    running = [
        subprocess.Popen(
            [*python, str(rank), str(folder / "rendezvous")],
            cwd=TESTS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300) for process in running]
    assert all(process.returncode == 0 for process in running), [err[-2000:] for _, err in said]
    found: dict[str, str] = json.loads(said[0][0].splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("host", "column"),
    [("fsdp1", "FSDP1"), ("zero", "ZeroRedundancyOptimizer"), ("around zero", "around ZeroRedundancyOptimizer")],
)
def test_right_or_refused(host: str, column: str, tmp_path: Path) -> None:
    found = outcomes(host, tmp_path)
    assert {name: said for name, said in found.items() if said.startswith(("off", "failed"))} == {}
    assert_column(column, {kind: found[kind.spec.name] for kind in all_kinds() if kind.spec.name in found})


# refusals ------------------------------------------------------------------------------------------------------
def flat() -> list[Parameter]:
    """A piece as FSDP1 marks it."""
    params = small.parameters((12,))
    params[0]._fsdp_flattened = True  # type: ignore[attr-defined]
    return params


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", all_kinds(), ids=lambda kind: kind.spec.name)


def test_what_is_refused_leaves_all_as_it_was(kind: Kind) -> None:
    params = flat()
    if kind.spec.kind == "wrapper":
        base = optim_core.get("adamw")(small.named(params), weight_decay=0.0)
        before = copy.copy(base.composition.transforms)
    values = small.copies(params)
    refusal = ""
    try:
        kind.make(small.named(params), **({"inner": lambda *_, **__: base} if kind.spec.kind == "wrapper" else {}))
    except UnsupportedParameter as error:
        refusal = str(error)
    if not refusal:
        assert kind.words not in (BY_REACH[Level.TENSOR], BY_REACH[Level.WHOLE])
        return
    assert kind.words != BY_REACH[Level.ELEMENT]
    assert re.search(REASONS["p"], refusal)
    assert "FSDP1 (FullyShardedDataParallel), where parameters are flat pieces" in refusal
    assert "shard with FSDP2 (fully_shard), or choose a method that works element by element" in refusal
    assert small.equal(params, values)
    if kind.spec.kind == "wrapper":
        assert base.composition.transforms == before


@pytest.mark.parametrize("way", ["nearest", "kahan", "stochastic"])
def test_draws_for_rounding(way: str) -> None:
    params = [Parameter(torch.ones(8, dtype=torch.bfloat16))]
    params[0]._fsdp_flattened = True  # type: ignore[attr-defined]
    if way == "stochastic":
        with pytest.raises(UnsupportedParameter, match=REASONS["p"]):
            optim_core.get("adamw")(params, rounding=way)
    else:
        optim_core.get("adamw")(params, rounding=way)


class Guesses(RuleOptimizer):
    """Draws in a step, which no declaration tells."""

    lr: float = hyper(0.1, "step size", ge=0)

    def checked_extras(self, params: Any) -> Any:
        self.generator(params[0].device)
        return super().checked_extras(params)

    @staticmethod
    def rule(p: Any, g: Any, *, lr: Any) -> Any:
        return p - lr * g


def test_a_draw_that_nobody_has_declared_is_refused_when_it_comes() -> None:
    params = flat()
    optimizer: Any = copy.deepcopy(Guesses(params))
    params = optimizer.param_groups[0]["params"]
    before = small.copies(params)
    with pytest.raises(UnsupportedParameter, match=REASONS["p"]):
        small.train(optimizer)
    assert small.equal(params, before)


class Prepares(RuleOptimizer):
    """Makes something of parameters when it is built: changes them, or begins a state."""

    lr: float = hyper(0.1, "step size", ge=0)
    changes: bool = hyper(False, "change parameters")
    size = state("a number that follows from the shape", level="tensor")

    @torch.no_grad()
    def on_group(self, group: dict[str, Any]) -> None:
        for p in group["params"]:
            if group["changes"]:
                p.zero_()
            else:
                self.set_state(p, size=float(p.numel()))

    @staticmethod
    def rule(p: Any, g: Any, size: Any, *, lr: Any) -> Any:
        return p - lr * g, size


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("host", [pieces.FSDP1, pieces.ZERO])
def test_what_follows_from_pieces_when_an_optimizer_is_built(
    host: Any, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optim_core.optimizers.composed.host_of_pieces", lambda _: host)
    params = small.parameters()
    before = small.copies(params)
    if host is pieces.ZERO and not changes:  # tensors are whole
        Prepares(params, changes=changes)
    else:
        with pytest.raises(UnsupportedParameter, match=REASONS["p"]):
            Prepares(params, changes=changes)
    assert small.equal(params, before)


def test_rules_that_take_other_branches_for_large_tensors() -> None:
    """Small tensors are merged into one row, for which nothing is computed with matrices: that tells nothing."""
    with pytest.raises(UnsupportedParameter, match=REASONS["p"]):
        optim_core.get("scalableshampoo")(flat())
