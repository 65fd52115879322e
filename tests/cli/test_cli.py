from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from support.fake_packs import spec

from optim_core.catalog.specs import Paper, SchedulerSpec
from optim_core.cli.app import app

NC = "CC-BY-NC-SA-4.0"
SCHEDULER = SchedulerSpec(
    name="ramp", target="torch.optim.lr_scheduler:LinearLR", summary="Up.", license="MIT", needs=("total_steps",)
)
LION = spec(
    "lion",
    aliases=("king",),
    paper=Paper(title="On lions", url="https://example.org/lions", year=2023),
    code="https://example.org/code",
    code_license="none found",
    needs=("create_graph",),
    state={"exp_avg": "2 element", "d": "whole"},
    constructors=("from_cub",),
    shortfall="Sleeps by day.",
)


def run(*arguments):
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments, catch_exceptions=False)


@pytest.fixture(autouse=True)
def installed(site):
    site.install("zoo", LION, SCHEDULER)
    site.install("nc", spec("nero", license=NC, target="builtins:no_such_class"), licence=NC)
    return site


# list -----------------------------------------------------------------------------------------------------------


def test_list():
    done = run("list")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "optimizer pack licence what it does" in lines
    assert "lion zoo MIT Steps. Needs create_graph." in lines
    assert "nero nc CC-BY-NC-SA-4.0 Steps." in lines
    assert "ramp zoo MIT Up. Needs total_steps." in lines


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["K*"], ["lion"]),
        (["--pack", "NC"], ["nero"]),
        (["--kind", "scheduler"], ["ramp"]),
        (["--needs", "create_graph"], ["lion"]),
        (["--license", "noncommercial"], ["nero"]),
    ],
)
def test_list_json(arguments, names):
    done = run("list", "--json", *arguments)
    assert [row["name"] for row in json.loads(done.stdout)] == names


def test_json_holds_the_pack():
    (row,) = json.loads(run("list", "nero", "--json").stdout)
    assert row["pack"] == {"name": "nc", "distribution": "nc-optim", "version": "1.0", "license": NC}


def test_nothing_to_list():
    assert run("list", "x*").stderr == "None of the 3 installed methods matches.\n"


def test_nothing_installed(site, monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_PACKS", "other")
    assert run("list").stderr == 'No pack works. All permissively licensed ones: pip install "optim-core[all]"\n'


def test_list_mentions_broken_packs(site):
    site.install("bad", manifest="1/0")
    done = run("list")
    assert done.exit_code == 0
    assert done.stderr == "1 pack failed to load: `optim-core doctor` says why.\n"


def test_errors_are_one_line():
    done = run("list", "--pack", "zo")
    assert done.exit_code == 1
    assert done.stderr == "Error: no pack 'zo'. Did you mean 'zoo'? Installed: nc, zoo\n"


# show -----------------------------------------------------------------------------------------------------------


def test_show():
    done = run("show", "King", "--parameters", "1e6")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "lion (optimizer): Steps.",
        "class optim_core.get('lion'), or: from torch.optim import SGD",
        "pack zoo (zoo-optim 1.0)",
        "aliases king",
        "licence MIT",
        "paper On lions, 2023, https://example.org/lions",
        "code https://example.org/code (licence: none found)",
        "needs create_graph: differentiates the gradients: loss.backward(create_graph=True)",
        "also SGD.from_cub(...)",
        "shortfall Sleeps by day.",
        "momentum 0",
        "exp_avg 2 element 2 times: as the parameter 7.6 MiB",
        "d whole one number for the model 8 B",
        "7.6 MiB of state in float32 for 1,000,000 parameters (1 of 244 x 4096, 1 of 576), with default options.",
    ):
        assert line in lines


def test_show_declared_options(site):
    method = """
from optim_core import RuleOptimizer, hyper
class Tiger(RuleOptimizer):
    lr: float = hyper(0.1, "step size [of p]", ge=0, search=(0.01, 1))
    mode: str = hyper("up", "where to", choices=("up", "down"))
    @staticmethod
    def rule(p, g, *, lr, mode):
        return p - lr * g
"""
    site.install("cats", spec("tiger", target="fake_cats_optim.tiger:Tiger"), modules={"tiger": method})
    done = run("show", "tiger")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "lr 0.1 >= 0 step size [of p]; worth trying: 0.01 to 1" in lines
    assert "mode 'up' 'up' or 'down' where to" in lines
    assert "Keeps no state with its default options." in lines


def test_show_json():
    shown = json.loads(run("show", "lion", "--json", "--parameters", "10").stdout)
    assert shown["state_bytes"] == {"exp_avg": 80, "d": 8}
    assert shown["state_of"] == [[10]]
    assert shown["paper"]["year"] == 2023


def test_show_takes_a_shape(site):
    site.install("cats", spec("tiger", state={"m": "element", "v": "row", "L": "axes"}))
    shown = json.loads(run("show", "tiger", "--json", "--parameters", "100", "--shape", "6X5").stdout)
    assert shown["state_of"] == [[6, 5], [6, 5], [6, 5], [2, 5]]
    assert shown["state_bytes"] == {"m": 400, "v": 4 * 20, "L": 4 * (3 * 61 + 29)}


@pytest.mark.parametrize("shape", ["6x", "0x5", "-1", "wide"])
def test_show_refuses_what_is_no_shape(shape):
    done = run("show", "lion", "--shape", shape)
    assert done.exit_code == 2
    assert f"{shape!r} should be like 4096x4096" in done.stderr


def test_show_a_class_that_cannot_be_loaded():
    done = run("show", "nero")
    assert done.exit_code == 1
    assert "Options cannot be shown: 'nero' cannot be loaded from builtins:no_such_class" in done.stdout


def test_show_what_the_policy_does_not_allow(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "noncommercial")
    done = run("show", "nero")
    assert (
        f"Options are not shown: your policy does not allow {NC} (OPTIM_CORE_LICENSE_DENY=noncommercial)."
        in done.stdout
    )


def test_show_an_unknown_name():
    done = run("show", "lyon")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: no method 'lyon'. Did you mean 'lion'?")


def test_show_draws_a_schedule():
    done = run("show", "ramp", "--steps", "60", "--set", "total_iters=30", "--set", "start_factor=0.5")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "step lr" in lines
    drawn = {line.split()[0]: line.split()[1:] for line in lines if "█" in line}
    assert list(drawn) == [*map(str, range(1, 61, 3)), "60"]
    assert (drawn["1"][0], drawn["16"][0], drawn["31"][0]) == ("0.5", "0.75", "1")
    assert len(drawn["60"][1]) == pytest.approx(2 * len(drawn["1"][1]), abs=1)
    assert lines[-1] == (
        "get_scheduler('ramp')(optimizer) with start_factor=0.5, total_iters=30, on an optimizer with lr 1 "
        "and beta2 0.95."
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--set", "start_factor=2"], "It cannot be drawn: ValueError: "),
        (["--set", "start=2"], "It cannot be drawn: TypeError: "),
    ],
)
def test_show_a_schedule_that_cannot_be_drawn(arguments, text):
    done = run("show", "ramp", *arguments)
    assert done.exit_code == 1
    assert text in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["lion", "--set", "momentum=1"], "--set is for schedules, and 'lion' is not a scheduler"),
        (["ramp", "--set", "lr=1"], "a schedule is drawn for an lr of 1: leave --set lr=... out"),
    ],
)
def test_show_draws_nothing_else(arguments, text):
    done = run("show", *arguments)
    assert done.exit_code == 2
    assert text in done.stderr


# doctor ---------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing():
    done = run("doctor", "--pack", "Zoo")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "zoo zoo-optim 1.0 MIT 2 methods" in lines
    assert lines[-1] == "Nothing is wrong from outside. To import every method, too: optim-core doctor --deep"
    assert run("doctor", "--deep", "--pack", "zoo").stdout.splitlines()[-1] == "All is well."


def test_doctor(site, monkeypatch):
    site.install("bad", manifest="import not_there", licence=None)
    site.install("off", spec("tiger"))
    site.install("acme", spec("lion"))
    monkeypatch.setenv("OPTIM_CORE_DISABLE", "off,zo")
    done = run("doctor")
    assert done.exit_code == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    prefer = "export OPTIM_CORE_PREFER=acme:lion or optim_core.prefer('acme:lion')"
    remedy = f"'zoo:lion'; or say which one it means, {prefer}"
    for line in (
        "bad bad-optim 1.0 not declared broken (import)",
        "off off-optim 1.0 MIT off (OPTIM_CORE_DISABLE)",
        "OPTIM_CORE_DISABLE=off,zo",
        "note: OPTIM_CORE_DISABLE names 'zo', and no such pack is installed. Did you mean 'zoo'?",
        f"note: 'lion' comes from 'acme' (acme-optim 1.0) and 'zoo' (zoo-optim 1.0). Ask for 'acme:lion' or {remedy}",
        "Something is broken.",
    ):
        assert line in lines
    problem, dead = [line for line in lines if line.startswith("problem: ")]
    assert "'nc:nero' of pack 'nc' (nc-optim 1.0) is dead: builtins has no no_such_class" in dead
    assert "pack 'bad' (bad-optim 1.0) failed to load (import: ModuleNotFoundError: No module named" in problem
    assert problem.endswith("Reinstall it: pip install --upgrade --force-reinstall bad-optim")


# licenses -------------------------------------------------------------------------------------------------------


def test_licenses():
    done = run("licenses")
    assert done.exit_code == 0
    assert "zoo:lion MIT none found" in [" ".join(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--deny", "noncommercial"], "--deny=noncommercial"),
        (["--deny", "GPL-3.0-only", "--deny", NC], f"--deny=GPL-3.0-only,{NC}"),
        (["--allow", "MIT,Apache-2.0"], "--allow=MIT,Apache-2.0"),
    ],
)
def test_licenses_names_offenders(arguments, rule):
    done = run("licenses", *arguments)
    assert done.exit_code == 1
    assert done.stderr == f"not allowed by {rule}: nc:nero (nc-optim 1.0) is {NC}\n"


def test_licenses_obeys_the_environment(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "noncommercial")
    assert run("licenses").exit_code == 1


def test_licenses_that_offend_nobody():
    assert run("licenses", "--deny", "GPL-3.0-only").exit_code == 0


def test_licenses_of_a_broken_pack_count(site):
    site.install("bad", manifest="1/0", licence=None)
    done = run("licenses", "--deny", "GPL-3.0-only")
    assert done.exit_code == 1
    assert "bad:* (bad-optim 1.0) is of no declared licence" in done.stderr


def test_licenses_json():
    rows = json.loads(run("licenses", "--deny", "noncommercial", "--json").stdout)
    assert rows[0] == {
        "name": "nc:nero",
        "origin": "nc-optim 1.0",
        "license": NC,
        "code_license": "",
        "refused_by": "--deny=noncommercial",
    }


def test_a_misspelt_licence_is_no_pass():
    done = run("licenses", "--deny", "noncomercial")
    assert done.exit_code == 2
    assert "'noncomercial' is not an SPDX licence. Did you mean 'noncommercial'?" in done.stderr


# the group ------------------------------------------------------------------------------------------------------


def test_help_lists_all_commands_and_imports_no_torch():
    code = """
import sys
from click.testing import CliRunner
from optim_core.cli.app import app
done = CliRunner().invoke(app, ["--help"])
assert done.exit_code == 0, done.output
assert all(name in done.output for name in ("compare", "doctor", "licenses", "list", "show")), done.output
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compare_is_imported_when_it_runs():
    context = app.make_context("optim-core", ["compare"])
    name, command, rest = app.resolve_command(context, ["compare", "adamw"])
    assert (name, rest) == ("compare", ["adamw"])
    assert isinstance(command, click.Command)
    assert any(parameter.name == "optimizers" for parameter in command.params)


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from optim_core.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f'The command line needs {missing}: pip install "optim-core[cli]"\n'
