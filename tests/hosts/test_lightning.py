"""Lightning: automatic and manual optimisation equal the plain loop, or are refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import loops
from support.host_table import assert_cell
from support.kinds import Kind
from support.loops import loss_of
from torch import nn

import optim_core

lightning: Any = pytest.importorskip("lightning.pytorch")

pytestmark = pytest.mark.filterwarnings("ignore")  # the host's own


def module(kind: Kind, net: nn.Module, *, manual: str = "", step: Any = None) -> Any:
    """The model in a LightningModule; ``manual`` says how it steps where it is not Lightning that does."""

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.automatic_optimization = not manual

        def configure_optimizers(self) -> Any:
            return kind.make(self.net.named_parameters())

        def training_step(self, batch: Any) -> Any:
            if not manual:
                return loops.one_loss_of(kind, self.net, batch)
            optimizer = self.optimizers()
            if manual == "minimize":
                optim_core.minimize(optimizer, lambda: loss_of(kind, self.net, batch))
            else:
                optimizer.zero_grad()
                self.manual_backward(loops.one_loss_of(kind, self.net, batch))
                optimizer.step()
            return None

    return Module()


def trainer(**options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        accelerator="cpu", devices=1, enable_checkpointing=False, **{"max_epochs": 1, **quiet, **options}
    )


def fit(trained: Any, data: Any, *, checkpoint: Path | None = None, **options: Any) -> Any:
    host = trainer(**options)
    host.fit(trained, torch.utils.data.DataLoader(data, batch_size=None), ckpt_path=checkpoint, weights_only=True)
    return host


def automatic(kind: Kind, net: nn.Module, data: Any, parts: int) -> None:
    fit(module(kind, net), data, accumulate_grad_batches=parts)


@pytest.mark.parametrize(("parts", "column"), [(1, "Lightning"), (2, "Lightning, accumulating")])
def test_automatic(kind: Kind, parts: int, column: str) -> None:
    # the sum of gradients of halves rounds otherwise than the gradient of a sum
    assert_cell(column, kind, loops.outcome(kind, automatic, parts=parts, tolerance=1e-12 if parts > 1 else 0.0))


@pytest.mark.parametrize("way", ["minimize", "step()"])
def test_manual(kind: Kind, way: str) -> None:
    def manual(kind: Kind, net: nn.Module, data: Any, parts: int) -> None:
        fit(module(kind, net, manual=way), data)

    assert_cell(f"Lightning, manual: {way}", kind, loops.outcome(kind, manual))


def test_clipping(kind: Kind) -> None:
    """Lightning clips what each evaluation leaves."""
    bound = 0.05

    def clipped(kind: Kind, net: nn.Module, data: Any, parts: int) -> None:
        fit(module(kind, net), data, gradient_clip_val=bound)

    def by_hand(kind: Kind, net: nn.Module, data: Any, parts: int) -> None:
        optimizer = kind.make(net.named_parameters())
        for batch in data:

            def closure(batch: Any = batch) -> Any:
                optimizer.zero_grad()
                loss = loss_of(kind, net, batch)
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), bound)
                return loss

            optimizer.step(closure)

    assert_cell("Lightning, clipping", kind, loops.outcome(kind, clipped, wanted=by_hand))


def test_resume_is_exact(kind: Kind, tmp_path: Path) -> None:
    """Through a checkpoint of the Trainer, between two epochs."""
    manual = "minimize" if kind.needs("create_graph") or kind.needs("multi_loss") else ""
    data = loops.batches(kind, 3)
    ends = []
    for interrupts in (False, True):
        torch.manual_seed(0)
        net = loops.model()
        if interrupts:
            half = fit(module(kind, net, manual=manual), data, max_epochs=1)
            half.save_checkpoint(tmp_path / "half.ckpt")
            net = loops.model()
        trained = module(kind, net, manual=manual)
        fit(trained, data, max_epochs=2, checkpoint=tmp_path / "half.ckpt" if interrupts else None)
        ends.append(net)
    assert loops.equal(*ends)
