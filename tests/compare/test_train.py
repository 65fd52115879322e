from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import optim_core
from optim_core.compare import build, plan, rehearsal
from optim_core.compare.contender import parse
from optim_core.compare.errors import PlanError
from optim_core.compare.plan import PlannedRun
from optim_core.compare.results import Run
from optim_core.compare.task import Task
from optim_core.compare.task_loading import load_task
from optim_core.compare.train import train
from optim_core.errors import UnknownOption
from optim_core.methods.declarations import Hyper


@pytest.fixture
def tiny(folder: Path) -> Task:
    return load_task("tiny_task:tiny")


def planned_run(text: str, lr: float = 0.1, seed: int = 0) -> PlannedRun:
    return PlannedRun(build.resolve(parse(text)), lr, seed, "", several_losses=False)


def without_times(run: Run) -> dict[str, Any]:
    facts = dataclasses.asdict(run)
    del facts["step_seconds"]
    facts["evaluations"] = [(step, score) for step, _, score in run.evaluations]
    return facts


def test_a_run_is_recorded(tiny: Task) -> None:
    run = train(tiny, planned_run("torch:sgd,momentum=0.9"), epochs=3)
    assert (run.status, run.message, run.steps) == ("ok", "", 12)
    assert [step for step, _, _ in run.evaluations] == [0, 4, 8, 12]
    assert [step for step, _ in run.losses] == list(range(1, 13))
    assert run.score == run.evaluations[-1][2]
    assert run.evaluations[-1][2] < run.evaluations[0][2]
    assert run.state_bytes == 2 * 4  # a momentum for the slope and one for the intercept
    assert run.step_seconds is not None
    assert run.evaluations[-1][1] > 0


def test_the_same_seed_gives_the_same_run(tiny: Task) -> None:
    first, again, other = (train(tiny, planned_run("torch:adam", seed=seed), epochs=3) for seed in (0, 0, 1))
    assert without_times(first) == without_times(again)
    assert first.losses != other.losses


def test_every_optimizer_starts_alike_and_sees_the_same_batches(tiny: Task) -> None:
    import tiny_task

    first = train(tiny, planned_run("torch:sgd"), epochs=2)
    seen = list(tiny_task.SEEN)
    tiny_task.SEEN.clear()
    second = train(tiny, planned_run("torch:adamw"), epochs=2)
    assert seen == tiny_task.SEEN
    assert first.evaluations[0] == second.evaluations[0]
    assert first.losses[0] == second.losses[0]


def test_the_callers_random_numbers_are_left_alone(tiny: Task) -> None:
    before = torch.get_rng_state()
    train(tiny, planned_run("torch:sgd"), epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("steps", [1, 6, 8])
def test_length_in_steps(tiny: Task, steps: int) -> None:
    run = train(tiny, planned_run("torch:sgd"), epochs=1, steps=steps)
    assert run.steps == steps
    assert run.evaluations[-1][0] == steps


def test_a_rising_loss_is_divergence(tiny: Task) -> None:
    run = train(tiny, planned_run("torch:sgd", lr=10.0), epochs=50)
    assert run.status == "diverged"
    assert run.score is None
    assert f"step {run.steps}: the loss is" in run.message
    assert run.steps < 50


def test_a_loss_that_is_no_number_is_divergence(tiny: Task) -> None:
    run = train(tiny, planned_run("torch:sgd", lr=1e30), epochs=50)
    assert run.status == "diverged"
    assert "the loss is" in run.message
    assert all(torch.isfinite(torch.tensor(value)) for _, value in run.losses)


def test_a_score_that_is_no_number_is_divergence(tiny: Task) -> None:
    run = train(dataclasses.replace(tiny, evaluate=lambda model: float("nan")), planned_run("torch:sgd"), epochs=1)
    assert (run.status, run.message) == ("diverged", "step 0: the squared error is nan")


def test_an_error_is_a_row(tiny: Task) -> None:
    run = train(tiny, planned_run("torch:muon"), epochs=1)  # it takes matrices only, and there is a bias
    assert run.status == "failed"
    assert run.message.startswith("ValueError: Muon only supports 2D parameters")


def test_batches_that_run_out(tiny: Task) -> None:
    def batches(seed: int, epoch: int) -> Any:
        return [] if epoch else tiny.batches(seed, epoch)

    run = train(dataclasses.replace(tiny, batches=batches), planned_run("torch:sgd"), epochs=1, steps=9)
    assert run.status == "failed"
    assert "batches(0, 1) is empty" in run.message


def test_curves_are_thinned(tiny: Task) -> None:
    run = train(tiny, planned_run("torch:sgd", lr=0.0), epochs=1, steps=1001)
    assert len(run.losses) == 334
    assert run.losses[-1][0] == 1001


def test_range_of_learning_rates_comes_from_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    import optim_core

    classes = {
        "method": SimpleNamespace(hypers={"lr": Hyper(default=1e-3, search=(1e-4, 1e-1), doc="")}),
        "free": SimpleNamespace(hypers={"lr": Hyper(default=1.0, doc="")}),
    }
    monkeypatch.setattr(optim_core, "get", classes.__getitem__, raising=False)
    assert build.default_lrs(parse("method"), 4) == (1e-4, 1e-3, 1e-2, 1e-1)
    assert build.default_lrs(parse("method"), 3) == (1e-4, 3.2e-3, 1e-1)
    assert build.default_lrs(parse("method"), 1) == (3.2e-3,)
    assert build.default_lrs(parse("free"), 4) == (1.0,)


def test_range_around_the_default_of_torchs_classes() -> None:
    assert build.default_lrs(parse("torch:adamw"), 3) == (1e-4, 1e-3, 1e-2)


def test_seeds_are_the_outer_loop(tiny: Task) -> None:
    contenders, _ = plan.read_contenders(["torch:sgd", "torch:adam,lr=0.5"])
    entries = plan.plan_runs(tiny, contenders, lrs=[0.1, 0.2], seeds=2)
    assert [e.key for e in entries] == [
        (name, lr, seed)
        for seed in (0, 1)
        for name, lr in (("torch:sgd", 0.1), ("torch:sgd", 0.2), ("torch:adam", 0.5))
    ]


def test_one_name_twice() -> None:
    with pytest.raises(PlanError, match="torch:adam is named 2 times"):
        plan.read_contenders(["torch:adam", "torch:Adam,lr=0.1"])


def test_misspelt_option_of_a_torch_class(tiny: Task) -> None:
    contenders, _ = plan.read_contenders(["torch:sgd,momentun=0.9"])
    with pytest.raises(UnknownOption, match="momentun"):
        plan.plan_runs(tiny, contenders)


def test_several_losses_for_a_task_with_one(tiny: Task) -> None:
    pytest.importorskip("optim_core_multitask")
    contenders, _ = plan.read_contenders(["torch:sgd+pcgrad"])
    with pytest.raises(PlanError, match="'pcgrad' balances several losses, and the task 'tiny <line>' has one"):
        plan.plan_runs(tiny, contenders)


def test_several_losses(tiny: Task) -> None:
    pytest.importorskip("optim_core_multitask")
    two = dataclasses.replace(tiny, losses=lambda m, b: [tiny.loss(m, b), m.weight.square().sum()])
    contenders, _ = plan.read_contenders(["torch:sgd+pcgrad"])
    (mine,) = plan.plan_runs(two, contenders, lrs=[0.1], seeds=1)
    rehearsal.rehearse(two, "cpu", several_losses=True)
    run = train(two, mine, epochs=1)
    alone = train(tiny, planned_run("torch:sgd"), epochs=1)
    assert run.status == "ok", run.message
    assert run.losses[0] == alone.losses[0]  # the first of the losses


def test_wrappers_with_options_and_their_memory(tiny: Task) -> None:
    pytest.importorskip("optim_core_wrappers")
    plain = train(tiny, planned_run("torch:sgd"), epochs=1)
    wrapped = train(tiny, planned_run("torch:sgd+lookahead,k=2"), epochs=1)
    assert wrapped.status == "ok", wrapped.message
    assert wrapped.losses[:2] == plain.losses[:2]
    assert wrapped.losses != plain.losses
    assert plain.state_bytes == 0
    assert wrapped.state_bytes == 2 * 4


def test_a_wrapper_in_the_place_of_an_optimizer() -> None:
    pytest.importorskip("optim_core_sharpness")
    with pytest.raises(PlanError, match=r"A wrapper goes around an optimizer: sgd,momentum=0.9\+sam"):
        plan.read_contenders(["sam"])


def test_what_has_a_point_for_evaluation_is_evaluated_there(tiny: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    name = optim_core.find(needs="train_eval_mode")[0].name
    optimizers: list[Any] = []
    modes: list[bool] = []
    original = build.build

    def recording_build(*args: Any) -> Any:
        optimizers.append(original(*args))
        return optimizers[-1]

    def evaluate(model: torch.nn.Module) -> float:
        modes.append(optimizers[0].training)
        return tiny.evaluate(model)

    monkeypatch.setattr(build, "build", recording_build)
    train(dataclasses.replace(tiny, evaluate=evaluate), planned_run(name), epochs=2)
    assert modes == [True, False, False]  # before the first step there is one point only
    assert optimizers[0].training
