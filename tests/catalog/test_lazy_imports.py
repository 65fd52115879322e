from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys

import pytest
from support import PACKS
from support.fake_packs import spec

import optim_core
from optim_core.catalog import discovery

PACKAGES = [f"optim_core_{path.parent.name}" for path in sorted(PACKS.glob("*/pyproject.toml"))]
installed = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in PACKAGES), reason="not all packs are installed"
)


def run(code, **environment):
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})


def test_importing_imports_nothing_else():
    run("import optim_core, sys; assert not {'torch', 'pluggy', 'importlib_metadata'} & set(sys.modules)")


def test_looking_imports_no_torch(site):
    site.install("acme", spec("acme_lion", state={"exp_avg": "element"}))
    site.install("bad", manifest="1/0")
    run(
        """
import sys, warnings
import optim_core
warnings.simplefilter("ignore")
names = [s.name for s in optim_core.find()]
assert "acme_lion" in names
for s in optim_core.find():
    assert optim_core.info(s.name) == s
assert "acme_lion" in optim_core.get_supported_optimizers()
optim_core.licenses.policy(deny="noncommercial")
optim_core.licenses.policy()
try:
    optim_core.info("acme_lyon")
except optim_core.OptimCoreError:
    pass
from click.testing import CliRunner
from optim_core.cli.app import app
for command in (["list"], ["list", "--json"], ["licenses"], ["doctor"]):
    done = CliRunner().invoke(app, command)
    assert done.exit_code == (command == ["doctor"]), done.output
assert "torch" not in sys.modules
""",
        PYTHONPATH=str(site.root),
    )


def test_public_names():
    assert set(optim_core.__all__) == {*optim_core._HOMES, "__version__"}
    assert dir(optim_core) == sorted(optim_core.__all__)
    for name in optim_core.__all__:
        assert getattr(optim_core, name) is not None


def test_no_module_hides_a_public_name():
    modules = {module.name for module in pkgutil.iter_modules(optim_core.__path__)}
    assert not modules & set(optim_core.__all__)


def test_a_name_that_is_not_public():
    with pytest.raises(AttributeError, match="module 'optim_core' has no attribute 'gett'"):
        optim_core.gett  # noqa: B018 - the access is the point


def test_exports_of_a_package(site):
    package = site.install(
        "a",
        spec("one", target="fake_a_optim.one:One"),
        modules={
            "__init__": "from optim_core.catalog import exports\n__getattr__, __dir__ = exports(__name__)\n",
            "one": "import torch\nclass One(torch.optim.SGD): pass",
        },
    )
    module = importlib.import_module(package)
    assert dir(module) == ["One"]
    assert f"{package}.one" not in sys.modules
    assert module.One.__name__ == "One"
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'On'. Did you mean 'One'?"):
        module.On  # noqa: B018 - the access is the point
    with pytest.raises(ImportError, match="Two"):
        exec(f"from {package} import Two")  # noqa: S102 - our own text


@installed
@pytest.mark.parametrize("package", PACKAGES)
def test_each_pack_exports_what_it_declares(package):
    module = importlib.import_module(package)
    specs = discovery.specs_of_manifest(importlib.import_module(f"{package}.pack"), package)
    assert sorted(module.__all__) == sorted(dir(module)) == sorted(s.class_name for s in specs)
    assert all(s.target.startswith((f"{package}.", "torch.")) for s in specs)


@installed
def test_the_table_of_known_names_is_up_to_date():
    subprocess.run([sys.executable, "-m", "optim_core.catalog.known", "--check"], check=True)
