"""transformers' Trainer with ``optimizers=(optimizer, schedule)``: as the plain loop, or refused with a reason."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import loops
from support.host_table import assert_cell
from support.kinds import Kind
from torch import Tensor

import optim_core
from optim_core.errors import OptimCoreError

transformers: Any = pytest.importorskip("transformers")
accelerate: Any = pytest.importorskip("accelerate")

pytestmark = pytest.mark.filterwarnings("ignore")  # the host's own


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Without what accelerate keeps for the process."""
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def network() -> Any:
    """A language model of a few hundred parameters, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
        words = {"bos_token_id": 0, "eos_token_id": 0}
        still = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        net = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **words, **still)).double()
    net.loss_type = (
        "ForCausalLM"  # its own name is none that the Trainer knows, so that it would count labels otherwise
    )
    return net


def texts(parts: int) -> list[Any]:
    """Those of eight steps."""
    return [{"input_ids": x, "labels": x} for x in (torch.arange(6) * k % 11 for k in range(1, 16 * parts + 1))]


def schedule(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))


def trained(kind: Kind, net: Any, folder: Path, *, parts: int = 1, resume: str | None = None, **more: Any) -> list[Any]:
    """Train; return the batches in the order in which the Trainer has them."""
    seen: list[Any] = []

    def collate(items: Any) -> Any:
        seen.append({name: torch.stack([item[name] for item in items]) for name in items[0]})
        return dict(seen[-1])

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=parts,
        num_train_epochs=1,
        max_grad_norm=0.0,
        use_cpu=True,
        seed=0,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        **{"save_strategy": "no", **more},
    )
    optimizer = kind.make(net.named_parameters())
    host = transformers.Trainer(
        model=net,
        args=arguments,
        train_dataset=texts(parts),
        data_collator=collate,
        optimizers=(optimizer, schedule(optimizer)),
    )
    host.train(resume_from_checkpoint=resume)
    return seen


def by_hand(kind: Kind, net: Any, batches: list[Any], parts: int) -> None:
    optimizer: Any = kind.make(net.named_parameters())
    rate = schedule(optimizer)

    def loss(batch: Any) -> Tensor:
        return net(**batch, num_items_in_batch=parts * batch["labels"][:, 1:].numel()).loss  # type: ignore[no-any-return]

    for start in range(0, len(batches), parts):
        own = batches[start : start + parts]
        optim_core.minimize(optimizer, (lambda own=own: map(loss, own)) if parts > 1 else lambda own=own: loss(own[0]))
        rate.step()


@pytest.mark.parametrize(("parts", "column"), [(1, "Trainer"), (2, "Trainer, accumulating")])
def test_trainer(kind: Kind, parts: int, column: str, tmp_path: Path) -> None:
    net, plain = network(), network()
    try:
        torch.manual_seed(0)
        seen = trained(kind, net, tmp_path, parts=parts)
    except OptimCoreError as error:
        assert_cell(column, kind, f"{type(error).__name__}: {error}")
        return
    torch.manual_seed(0)
    by_hand(kind, plain, seen, parts)
    off = max(float((a - b).detach().abs().max()) for a, b in zip(net.parameters(), plain.parameters(), strict=True))
    assert off < 1e-9, off
    assert len(seen) == 8 * parts
    assert_cell(column, kind, "same")


def test_resume_is_exact(kind: Kind, tmp_path: Path) -> None:
    """Through a checkpoint of the Trainer, in the middle of an epoch."""
    ends = []
    for interrupts in (False, True):
        net = network()
        torch.manual_seed(0)
        try:
            trained(kind, net, tmp_path / "whole", save_strategy="steps", save_steps=3, save_only_model=False)
        except OptimCoreError:
            pytest.skip("it is refused")
        if interrupts:
            net = copy.deepcopy(network())
            torch.manual_seed(1)
            trained(kind, net, tmp_path / "rest", resume=str(tmp_path / "whole" / "checkpoint-3"))
        ends.append(net)
    assert loops.equal(*ends)
