from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from optim_core.compare import plan, rehearsal, task, train
from optim_core.compare.errors import TaskError
from optim_core.compare.task_loading import load_task

Module = Callable[[str], str]


@pytest.mark.parametrize("name", ["digits", "chars"])
def test_built_in_tasks_run(name: str) -> None:
    pytest.importorskip("sklearn")
    found = load_task(name)
    rehearsal.rehearse(found, "cpu", several_losses=found.losses is not None)
    contenders, _ = plan.read_contenders(["torch:adamw,lr=0.003"])
    (planned,) = plan.plan_runs(found, contenders, seeds=1)
    run = train.train(found, planned, epochs=1, steps=8)
    assert run.status == "ok", run.message
    assert run.steps == 8
    assert [step for step, _, _ in run.evaluations] == [0, 8]
    assert run.losses[-1][1] < run.losses[0][1]
    assert run.state_bytes is not None
    assert run.state_bytes > 4 * 2 * 4_000


def test_digits_are_held_out_in_proportion() -> None:
    pytest.importorskip("sklearn")
    from optim_core.compare.tasks import digits

    images, labels = digits._data("cpu")
    train_index, held_out = digits._split(labels)
    assert sorted(torch.cat([train_index, held_out]).tolist()) == list(range(1797))
    assert (len(train_index), len(held_out)) == (1201, 596)
    assert (labels[held_out].bincount() - labels.bincount() / 3).abs().max() < 1
    assert images.min() == -1
    assert images.max() == 1


@pytest.mark.parametrize("name", ["digits", "chars"])
def test_networks_can_be_differentiated_twice(name: str) -> None:
    pytest.importorskip("sklearn")
    found = load_task(name)
    model = found.model()
    loss = found.loss(model, next(iter(found.batches(0, 0))))
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    second = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), parameters)
    assert all(g.isfinite().all() for g in second)


def test_the_example_in_the_documentation_works(module: Module) -> None:
    text = (task.__doc__ or "").partition("This one is complete:")[2]
    found = load_task(f"{module(text)}:line")
    rehearsal.rehearse(found, "cpu", several_losses=False)
    (planned,) = plan.plan_runs(found, plan.read_contenders(["torch:sgd,lr=0.1"])[0], seeds=1)
    assert train.train(found, planned, epochs=3).status == "ok"


def test_device_is_passed_on(module: Module) -> None:
    text = (task.__doc__ or "").partition("This one is complete:")[2]
    name = module(text)
    assert next(iter(load_task(f"{name}:line", "meta").batches(0, 0)))[0].device.type == "meta"


@pytest.mark.parametrize(
    ("task_text", "said"),
    [
        ("digit", "no task 'digit'. Built in: digits, chars"),
        ("no_such_module:f", "importing 'no_such_module' failed with ModuleNotFoundError"),
        ("tiny_task:tinny", "has no function 'tinny'; it has: tiny"),
    ],
)
def test_not_found(folder: Path, task_text: str, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        load_task(task_text)


def test_device_without_parameter(folder: Path) -> None:
    with pytest.raises(TaskError, match="has no parameter `device`"):
        load_task("tiny_task:tiny", "cuda")


def test_function_that_returns_something_else(module: Module) -> None:
    with pytest.raises(TaskError, match=r"make\(\) returned dict, not optim_core.compare.Task"):
        load_task(f"{module('def make(): return {}')}:make")


def test_function_that_fails(module: Module) -> None:
    with pytest.raises(TaskError, match=r"make\(\) failed with ZeroDivisionError"):
        load_task(f"{module('def make(): return 1 / 0')}:make")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model=None", "model must be a function, got None"),
        ("losses=3", "losses must be a function or None, got 3"),
        ("goal='up'", "goal must be 'max' or 'min', got 'up'"),
        ("epochs=0", "epochs must be a whole number >= 1, got 0"),
        ("target='high'", "target must be a number or None, got 'high'"),
    ],
)
def test_fields_are_checked(module: Module, change: str, said: str) -> None:
    source = f"""
        import dataclasses, tiny_task
        def make(): return dataclasses.replace(tiny_task.tiny(), {change})
    """
    with pytest.raises(TaskError, match=said):
        load_task(f"{module(source)}:make")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model=lambda: 3", r"model\(\) must be a torch.nn.Module, got int \(3\)"),
        ("evaluate=lambda m: torch.ones(())", r"evaluate\(model\) must be a number .* got a tensor of shape \(\)"),
        ("evaluate=lambda m: 1 / 0", r"evaluate\(\) failed with ZeroDivisionError"),
        ("batches=lambda s, e: 3", r"batches\(seed, epoch\) must be something to loop over, got int"),
        ("batches=lambda s, e: []", r"batches\(0, 0\) is empty"),
        ("loss=lambda m, b: 3.0", r"loss\(model, batch\) must be a 0-dimensional tensor .* got float \(3.0\)"),
        ("loss=lambda m, b: m(b[0])", r"got a tensor of shape \(16, 1\) with a graph"),
        ("loss=lambda m, b: torch.ones(())", r"got a tensor of shape \(\) without a graph"),
        ("losses=lambda m, b: []", r"losses\(model, batch\) must be a list of two losses or more"),
        ("losses=lambda m, b: [1, 2]", r"an item of losses\(model, batch\) must be a 0-dimensional tensor"),
    ],
)
def test_what_it_promises_is_checked_before_the_first_run(module: Module, change: str, said: str) -> None:
    source = f"""
        import dataclasses, torch, tiny_task
        def make(): return dataclasses.replace(tiny_task.tiny(), {change})
    """
    found = load_task(f"{module(source)}:make")
    with pytest.raises(TaskError, match=said):
        rehearsal.rehearse(found, "cpu", several_losses=found.losses is not None)
