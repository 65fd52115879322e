"""torch.hub.load from a plain checkout, in a process that has torch but not this project."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import ROOT


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """This environment's packages without ours: what a folder of links and no `.pth` file offers."""
    folder = tmp_path_factory.mktemp("bare")
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if not entry.name.startswith(("optim_core", "_optim_core", "__editable__")) and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


def run(bare: Path, code: str, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPTIM_CORE_")}
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", f"import torch\nROOT = {str(ROOT)!r}\n{code}"],
        cwd=bare,
        env={**environment, "PYTHONPATH": str(bare), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_name_gives_the_class_and_arguments_an_instance(bare):
    code = """
import importlib.util, sys
assert importlib.util.find_spec("optim_core") is None
adamp = torch.hub.load(ROOT, "adamp", source="local")
model = torch.nn.Linear(2, 1)
adamp(model.parameters()).minimize(lambda: model(torch.ones(3, 2)).square().mean())
print(adamp.__name__)
print(type(torch.hub.load(ROOT, "lion", list(model.parameters()), source="local", lr=0.5)).__name__)
print(torch.hub.load(ROOT, "lookahead", source="local").__name__)
print(torch.hub.load(ROOT, "chebyshev", source="local").__name__)
print([path for path in sys.path if path.startswith(ROOT)])
"""
    assert run(bare, code).split() == ["AdamP", "Lion", "Lookahead", "ChebyshevLR", "[]"]


def test_every_method_is_listed_and_says_what_it_is(bare):
    code = """
import sys
sys.path.insert(0, ROOT)
import hubconf, optim_core
entries = {name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")}
assert entries == {name for spec in optim_core.find() for name in (spec.name, *spec.aliases)}, entries
assert {"sophia", "sophiah", "nero", "sam"} <= entries
print(hubconf.nero.__doc__)
"""
    assert "CC-BY-NC-SA-4.0" in run(bare, code)


def test_the_licence_policy_holds(bare):
    code = """
try:
    torch.hub.load(ROOT, "nero", source="local")
except Exception as error:
    print(type(error).__name__)
"""
    assert run(bare, code, OPTIM_CORE_LICENSE_DENY="noncommercial").strip() == "LicenseNotAllowed"
    assert run(bare, code).strip() == "NonCommercialWarning"


def test_a_pack_can_be_switched_off(bare):
    code = """
import pytest
with pytest.raises(RuntimeError, match="lion"):
    torch.hub.load(ROOT, "lion", source="local")
print(torch.hub.load(ROOT, "adamp", source="local").__name__)
"""
    assert run(bare, code, OPTIM_CORE_DISABLE="sign").strip() == "AdamP"
