"""A task that takes milliseconds, and a way to run the command."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from optim_core.compare.command import compare

TINY = '''
"""Fit y = 2 x + 1 with a linear model."""

import torch

from optim_core.compare import Task

SEEN = []  # the first numbers of the batches
INTERRUPT_AT = None  # the call of loss() at which Ctrl-C is pressed
CALLS = 0


def tiny():
    x = torch.linspace(-1, 1, 64)[:, None]
    y = 2 * x + 1

    def batches(seed, epoch):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(100 * seed + epoch))
        for index in order.split(16):
            SEEN.append((seed, epoch, index[0].item()))
            yield x[index], y[index]

    def loss(model, batch):
        global CALLS
        CALLS += 1
        if CALLS == INTERRUPT_AT:
            raise KeyboardInterrupt
        return torch.nn.functional.mse_loss(model(batch[0]), batch[1])

    def evaluate(model):
        assert not model.training
        return torch.nn.functional.mse_loss(model(x), y).item()

    return Task(
        name="tiny <line>", about="A line & its slope.", model=lambda: torch.nn.Linear(1, 1), batches=batches,
        loss=loss, evaluate=evaluate, metric="squared error", goal="min", target=0.1, epochs=3,
    )
'''


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the test; it holds `tiny_task.py`."""
    (tmp_path / "tiny_task.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "tiny_task", raising=False)
    return tmp_path


@pytest.fixture
def module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module of the user's and give its name."""
    count = 0

    def write(source: str) -> str:
        nonlocal count
        count += 1
        name = f"users_module_{count}"
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    """Call `optim-core compare` on the tiny task."""

    def call(*words: str, task: str = "tiny_task:tiny") -> Result:
        return CliRunner().invoke(compare, [*words, "--task", task, "--out", "out"], catch_exceptions=False)

    return call
