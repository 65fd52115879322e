"""accelerate: prepared optimizers equal the plain loop, or are refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import loops
from support.host_table import assert_cell
from support.kinds import Kind
from torch import nn

import optim_core

accelerate: Any = pytest.importorskip("accelerate")

pytestmark = pytest.mark.filterwarnings("ignore")  # the host's own


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Without what accelerate keeps for the process."""
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def prepared(kind: Kind, net: nn.Module, parts: int = 1) -> tuple[Any, nn.Module, Any]:
    host = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=parts)
    whole, optimizer = host.prepare(net, kind.make(net.named_parameters()))
    return host, whole, optimizer


def minimized(kind: Kind, net: nn.Module, data: Any, parts: int) -> None:
    host, whole, optimizer = prepared(kind, net, parts)
    for batch in data:
        with host.accumulate(whole):
            optim_core.minimize(optimizer, lambda batch=batch: loops.loss_of(kind, whole, batch))


def stepped(kind: Kind, net: nn.Module, data: Any, parts: int) -> None:
    host, whole, optimizer = prepared(kind, net, parts)
    for batch in data:
        with host.accumulate(whole):
            host.backward(loops.one_loss_of(kind, whole, batch))
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize(("run", "column"), [(minimized, "minimize"), (stepped, "step()")])
@pytest.mark.parametrize(("parts", "how"), [(1, "accelerate"), (2, "accelerate, accumulating")])
def test_prepared(kind: Kind, run: Any, column: str, parts: int, how: str) -> None:
    outcome = loops.outcome(kind, run, parts=parts, tolerance=1e-12 if parts > 1 else 0.0)
    assert_cell(f"{how}: {column}", kind, outcome)


def test_resume_is_exact(kind: Kind, tmp_path: Path) -> None:
    """Through save_state and load_state."""
    data = loops.batches(kind, 6)
    ends = []
    for interrupts in (False, True):
        torch.manual_seed(0)
        net = loops.model()
        host, whole, optimizer = prepared(kind, net)
        loops.steps(kind, optimizer, whole, data[:3])
        if interrupts:
            host.save_state(str(tmp_path / "half"), safe_serialization=False)
            net = loops.model()
            host, whole, optimizer = prepared(kind, net)
            host.load_state(str(tmp_path / "half"))
        loops.steps(kind, optimizer, whole, data[3:])
        ends.append(net)
    assert loops.equal(*ends)
