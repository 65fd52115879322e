"""docs/conformance.py: its page follows from its results, and a class that crashes or hangs is a row.

The other libraries need not be installed.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support import ROOT

from optim_core.testing import all_checks

DOCS = ROOT / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("conformance")


def test_the_page_follows_from_the_results(script):
    assert script.page() == script.PAGE.read_text(encoding="utf-8")


def test_results_are_those_of_the_versions_that_are_pinned(script):
    pinned = {}
    for file in (DOCS / "constraints.txt", ROOT / "tests" / "constraints.txt"):
        lines = [line for line in file.read_text().splitlines() if "==" in line]
        pinned |= dict(line.split("==") for line in lines)
    listed = [library["distribution"] for library in script.libraries()]
    found = script.read()["libraries"]
    assert [*found] == listed
    assert {name: row["version"] for name, row in found.items()} == {name: pinned[name] for name in listed}
    assert {check for row in found.values() for one in row["classes"].values() for check in one["failed"]} <= {
        "", *all_checks()
    }  # fmt: skip


def test_what_fails_over_torch_is_known(script):
    from testing.test_torch import KNOWN

    found = script.read()["libraries"]["torch"]["classes"]
    assert {name: {*row["failed"]} for name, row in found.items() if row["failed"]} == {
        name: {*reasons} for name, reasons in KNOWN.items()
    }


def test_a_fault_is_told_without_what_differs_between_machines(script):
    check = all_checks()["check_is_silent"]
    text = f"Some: it says '/home/me/lib/some.py: <function at 0x7f0011223344>'. {check.requirement} Remedy: none."
    assert script.fault(text, "Some", check) == "it says '.../some.py: <function at 0x...>'"


def test_a_finding_that_is_found_no_more_is_refused(script):
    results = {"libraries": {"some": {"module": "some", "classes": {}}}}
    with pytest.raises(script.InvalidOption, match="no class fails check_"):
        script.worst(results)


def test_constructors_that_ask_for_more(script):
    class Some:
        def __init__(self, params, lr, *, model, betas=(0.9, 0.99), **more): ...

    assert script.wanted_beside(Some, {"lr": 1.0}) == "model"
    assert script.wanted_beside(Some, {"lr": 1.0, "model": None}) == ""

    class Another:
        def __init__(self, specs): ...

    assert script.wanted_beside(Another, {}) == "specs"


def test_only_a_module_s_own_optimizers_are_run(script):
    import torch

    own = type("Own", (torch.optim.SGD,), {"__module__": "some.where"})
    module = SimpleNamespace(__name__="some", Own=own, Alias=own, SGD=torch.optim.SGD, _Base=own, helper=print)
    assert script.classes(module) == {"Own": own}


WRONG = """
import os, sys, time
import torch
sys.path.insert(0, {docs!r})
import conformance

class Wrong(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        if isinstance(lr, torch.Tensor):
            time.sleep(60)
        if lr < 0:
            os._exit(7)
        super().__init__(params, lr=lr)

print(conformance.json.dumps([*conformance.run_class({{}}, "Wrong", Wrong, 10)]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="it forks")
def test_a_class_that_crashes_or_hangs_is_a_row():
    done = subprocess.run(
        [sys.executable, "-c", WRONG.format(docs=str(DOCS))], capture_output=True, text=True, check=True
    )
    found = {check: (status, text) for check, status, text in json.loads(done.stdout)}
    assert found["check_refuses_a_negative_lr"] == ("failed", "the process ends with exit code 7")
    assert found["check_lr_may_be_a_tensor"] == ("unfinished", "it takes more than 10 s")
    assert found["check_takes_a_step"] == ("passed", "")
    assert found["check_groups_may_be_added"] == ("passed", "")  # what comes after them is run
