"""The kit itself: reports, expected failures, strangers' classes, the command, the plugin, trajectories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.fake_packs import Site, error_text, spec

import optim_core
from optim_core.cli.app import app
from optim_core.errors import ConformanceError, InvalidOption, UnknownName
from optim_core.testing import against, all_checks, check_optimizer, check_pack, parametrize_with_checks, record, replay

LR = {"lr": 0.1}


class Growing(torch.optim.SGD):
    """Refuses nothing, and ascends under a negative lr."""

    def __init__(self, params: Any, lr: float = 0.1, **options: Any) -> None:
        super().__init__(params, lr=abs(lr))


def test_each_check_says_what_it_requires_and_a_remedy() -> None:
    for name, check in all_checks().items():
        assert name.startswith("check_")
        assert check.requirement.endswith("."), name
        assert check.remedy.endswith("."), name
        assert (check.requirement + check.remedy).isprintable(), name


# reports ---------------------------------------------------------------------------------------------------------
def test_a_failure_raises_and_says_check_fault_and_remedy() -> None:
    text = error_text(ConformanceError, check_optimizer, Growing)
    assert text.startswith("2 checks of ")
    assert (
        "- Growing: lrr=0.1 is accepted without a word. An option that it does not have is refused with a TypeError, "
        "never swallowed. Remedy: take no ``**kwargs`` in the constructor, or raise for what is left in them. "
        "(check_refuses_misspelt_options)" in text
    )
    report = check_optimizer(Growing, on_fail="report")
    assert [o.check for o in report.failures] == ["check_refuses_misspelt_options", "check_refuses_a_negative_lr"]
    assert str(report).endswith("2 failed")
    assert isinstance(ConformanceError(""), AssertionError)


def test_failures_may_be_expected_and_then_must_happen() -> None:
    known = {"check_refuses_misspelt_options": "it takes all", "check_refuses_a_negative_lr": "it takes its size"}
    report = check_optimizer(Growing, expected_failed_checks=known)
    assert {o.check: o.text for o in report.outcomes if o.status == "expected"} == known
    text = error_text(ConformanceError, check_optimizer, torch.optim.SGD, LR, expected_failed_checks=known)
    assert "check_refuses_misspelt_options passes, and was expected to fail (it takes all)" in text
    assert "Remedy: expect it no longer" in text


def test_a_check_that_does_not_exist_cannot_be_expected_to_fail() -> None:
    known = {"check_take_a_step": "never"}
    text = error_text(InvalidOption, check_optimizer, torch.optim.SGD, LR, expected_failed_checks=known)
    assert "there is no check 'check_take_a_step'. Did you mean 'check_takes_a_step'?" in text
    assert "optim_core.testing.all_checks() lists them" in text


def test_unknown_packs_and_methods() -> None:
    assert "no_such_pack" in error_text(UnknownName, check_pack, "no_such_pack")
    assert "no_such_method" in error_text(UnknownName, check_optimizer, "no_such_method")


def test_names_targets_and_classes() -> None:
    for what in ("sign:lion", "optim_core_sign.lion:Lion", optim_core.get("lion")):
        assert check_optimizer(what).outcomes[0].status == "passed"


# strangers' classes ----------------------------------------------------------------------------------------------
class RaisesAtOnce(torch.optim.SGD):
    def __init__(self, params: Any) -> None:
        raise RuntimeError("no\nGPU")


class Exits(torch.optim.SGD):
    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.1)

    def step(self, closure: Any = None) -> Any:
        sys.exit(3)


class Hostile(torch.optim.SGD):
    """Steps well and does nothing else well."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.1)

    def state_dict(self) -> Any:
        raise KeyError

    def add_param_group(self, group: Any) -> None:
        if self.param_groups:
            raise IndexError("one is enough")
        super().add_param_group(group)

    def __deepcopy__(self, memo: Any) -> Any:
        raise SystemExit


@pytest.mark.parametrize("cls", [RaisesAtOnce, Exits, dict, print, 3])
def test_what_takes_no_step_fails_one_check_for_it(cls: Any) -> None:
    report = check_optimizer(cls, on_fail="report")
    failed = {o.check for o in report.failures}
    assert "check_takes_a_step" in failed
    assert failed <= {"check_takes_a_step", "check_every_need_is_declared"}
    assert all(o.text.isprintable() for o in report.outcomes)


def test_whatever_a_class_raises_is_a_failed_check() -> None:
    found = {o.check: o.text for o in check_optimizer(Hostile, on_fail="report").failures}
    assert {"check_deepcopies_continue", "check_resumes_bit_for_bit", "check_groups_may_be_added"} <= found.keys()
    assert "IndexError: one is enough" in found["check_groups_may_be_added"]


class WantsToBeTold(torch.optim.SGD):
    """Steps between train() and eval() only, as schedulefree's do, and refuses what others do without."""

    def __init__(self, params: Any, lr: float = 0.1, *, on_a_gpu: bool = False) -> None:
        assert lr > 0
        if on_a_gpu:
            sys.exit("there is none")
        super().__init__(params, lr=lr)

    def train(self) -> None:
        self.param_groups[0]["trains"] = True

    def eval(self) -> None:
        self.param_groups[0]["trains"] = False

    def step(self, closure: Any = None) -> Any:
        assert self.param_groups[0].get("trains"), "call train() first"
        return super().step(closure)


class NeverLeavesZero(WantsToBeTold):
    """Keeps the first lr that a schedule sets."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = group.setdefault("first", group["lr"])
        return super().step(closure)


def test_a_class_is_driven_as_its_users_would() -> None:
    assert not check_optimizer(WantsToBeTold, on_fail="report").failures
    found = {o.check: o.text for o in check_optimizer(NeverLeavesZero, on_fail="report").failures}
    assert "after steps with lr = 0 the parameters never move again" in found["check_lr_zero_stands_still"]


def test_surroundings_are_left_as_they_were() -> None:
    class Careless(torch.optim.SGD):
        def __init__(self, params: Any) -> None:
            super().__init__(params, lr=0.1)
            torch.set_default_dtype(torch.float64)
            torch.rand(3)

    before = torch.get_rng_state()
    check_optimizer(Careless, on_fail="report")
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(before, torch.get_rng_state())


# pytest ----------------------------------------------------------------------------------------------------------
def test_one_test_a_check() -> None:
    mark = parametrize_with_checks(Growing, expected_failed_checks={"check_refuses_misspelt_options": "known"}).mark
    names, cases = mark.args
    assert names == ("subject", "check")
    by_id = {case.id: case for case in cases}
    assert len(by_id) == len(cases) == len(check_optimizer(Growing, on_fail="report").outcomes)
    (xfail,) = by_id["Growing-check_refuses_misspelt_options"].marks
    assert xfail.kwargs == {"reason": "known", "strict": True}


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False,
    )  # fmt: skip


def test_the_plugin_needs_no_file(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--optim-core-pack", "sign", "-q", "-k", "tiger and (takes_a_step or gradients_alone)")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    done = run_pytest(tmp_path, "--optim-core-pack", "sing")
    assert done.returncode == 4
    assert "--optim-core-pack: " in done.stderr
    assert "Did you mean 'sign'?" in done.stderr


def test_the_plugin_shows_the_text_of_a_failure(tmp_path: Path, site: Site) -> None:
    site.install("acme", spec("acme_sgd", target="fake_acme_optim.sgd:SGD"),
                 modules={"sgd": "import torch\nclass SGD(torch.optim.SGD):\n    pass\n"})  # fmt: skip
    done = run_pytest(tmp_path, "--optim-core-pack", "acme", "-q", "-k", "documented")
    assert "acme:acme_sgd: fake_acme_optim.sgd:SGD has no docstring. " in done.stdout.replace("\n", " ")
    assert done.returncode == 1


def test_the_plugin_imports_nothing_unless_asked(tmp_path: Path) -> None:
    tmp_path.joinpath("test_nothing.py").write_text(
        "import sys\ndef test_nothing():\n    assert 'torch' not in sys.modules\n"
        "    assert 'optim_core.testing.run' not in sys.modules\n"
    )
    done = run_pytest(tmp_path, "-q")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


# the command -----------------------------------------------------------------------------------------------------
def test_the_command(site: Site) -> None:
    site.install("acme", spec("acme_sgd", target="fake_acme_optim.sgd:SGD"),
                 modules={"sgd": "import torch\nclass SGD(torch.optim.SGD):\n    pass\n"})  # fmt: skip
    for words in (["check", "--pack", "acme"], ["check", "acme_sgd"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 1
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("failed")]
        assert line.startswith(
            "failed   acme:acme_sgd  check_class_is_documented  acme:acme_sgd: fake_acme_optim.sgd:SGD"
        )
        assert "Remedy: write what it does" in line
        assert done.stdout.splitlines()[-1].startswith("1 check of ")
    shown = json.loads(CliRunner().invoke(app, ["check", "acme_sgd", "--json"]).stdout)
    assert shown["failed"] == 1
    assert {o["status"] for o in shown["checks"]} == {"passed", "failed"}


def test_the_command_runs_single_checks() -> None:
    words = ["check", "torch.optim:Rprop", "--check", "check_is_silent", "--check", "check_lr_zero_stands_still"]
    done = CliRunner().invoke(app, words)
    assert [line.split()[:3] for line in done.stdout.splitlines()[:2]] == [
        ["passed", "Rprop", "check_is_silent"],
        ["failed", "Rprop", "check_lr_zero_stands_still"],
    ]
    assert done.stdout.splitlines()[2] == "1 check of 2 failed."


def test_the_command_on_a_class() -> None:
    done = CliRunner().invoke(app, ["check", "torch.optim:RMSprop"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("All ")


@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        (["sign:lion", "--check", "take_a_step"], "there is no check 'take_a_step'", 1),
        (["sign:lion", "--check", "check_is_a_scheduler_of_torch"], "is about none of these. Without --check, all", 1),
        ([], "name a method, a MODULE:CLASS or --pack PACK to check", 2),
        (["no_such_module:Class"], "'no_such_module:Class' cannot be imported: ", 1),
        (["torch.optim:Adamant"], "'torch.optim:Adamant' cannot be imported: ", 1),
        (["--pack", "sing"], "Did you mean 'sign'?", 1),
    ],
)
def test_the_command_refuses(words: list[str], text: str, code: int) -> None:
    done = CliRunner().invoke(app, ["check", *words])
    assert text in done.output
    assert done.exit_code == code


# trajectories ----------------------------------------------------------------------------------------------------
def test_a_recorded_trajectory_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "adamw.json"
    for options in ({"lr": 0.01}, {"lr": 0.01, "betas": (0.8, 0.9)}, {"lr": 0.01}):
        for problem in ("net", "diag"):
            record(torch.optim.AdamW, options, problem=problem, into=file, name="adamw")
    assert len(json.loads(file.read_text())["cases"]) == 4
    assert replay(file) < 1e-10
    assert replay(file, torch.optim.AdamW) < 1e-10
    text = error_text(ConformanceError, replay, file, torch.optim.Adam)
    assert f"leaves the trajectory in {file} at step 1" in text


def test_a_method_is_held_against_a_slow_reference() -> None:
    class Slow(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1, betas: Any = (0.9, 0.99)) -> None:
            super().__init__(params, {"lr": lr, "betas": betas})

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            with torch.enable_grad():
                loss = closure()
            for group in self.param_groups:
                (b1, b2), lr = group["betas"], group["lr"]
                for p in group["params"]:
                    m = self.state[p].setdefault("m", torch.zeros_like(p))
                    p.sub_(lr * (b1 * m + (1 - b1) * p.grad).sign())
                    m.copy_(b2 * m + (1 - b2) * p.grad)
            return loss

    lion = optim_core.get("lion")
    assert against(Slow, lion, {"lr": 0.01}) < 1e-10
    text = error_text(ConformanceError, against, Slow, optim_core.get("signsgd"), {"lr": 0.01})
    assert "parts from " in text
    assert " at step " in text


def test_trajectories_refuse_what_they_do_not_understand(tmp_path: Path) -> None:
    text = error_text(InvalidOption, record, torch.optim.SGD, LR, problem="nett")
    assert "there is no problem 'nett'. Did you mean 'net'?" in text
    file = tmp_path / "sgd.json"
    case = record(torch.optim.SGD, LR, steps=1)
    file.write_text(json.dumps({"optimizer": "sgd", "cases": [{**case, "draws": "cosines"}]}))
    assert "a case has draws, which replay() does not understand" in error_text(InvalidOption, replay, file)
