"""Every check and the demo, each in an environment of its own that it sets up itself.

On a machine that has nothing but Python and pip (a system Python that refuses `pip install` will do):

    python3 -m venv .venv && .venv/bin/python -m pip install --upgrade pip nox && .venv/bin/python -m nox -s demo

and the same with another session's name at its end; `nox --list` shows them. What stands after `--` goes to the
session's tool: `nox -s tests -- -k lion`. Environments are kept in .nox; `nox --no-reuse-existing-virtualenvs`
starts anew.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import nox

ROOT = Path(__file__).parent
PACKS = {path.parent.name: path.parent for path in sorted(ROOT.glob("packs/*/pyproject.toml"))}
DISTRIBUTIONS = {pack: f"optim-core-{pack.replace('_', '-')}" for pack in PACKS}
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
CONSTRAINTS = ("--constraint", str(ROOT / "tests" / "constraints.txt"))
#: The packs that `optim-core new-pack` is tried with: the end of the name, and the options.
NEW_PACKS = {
    **{kind: ("--kind", kind) for kind in ("optimizer", "wrapper", "scheduler", "plain")},
    "existing": ("--from-class", "torch.optim:Adagrad"),
}
# pytest-timeout ends a test that hangs, and says where: without it, so would the whole run.
TEST_TOOLS = ("pytest", "pytest-xdist", "pytest-timeout", "hypothesis")
#: What stands between a training loop and an optimizer: docs/hosts.md.
HOSTS = ("lightning", "accelerate", "transformers")
#: What the kit is run over, beside torch: docs/conformance.md. pytorch_optimizer's Kron wants opt_einsum.
PEERS = ["pytorch_optimizer", "opt_einsum", "timm", "heavyball", "schedulefree", "prodigyopt", "lion-pytorch"]
PEERS += ["bitsandbytes"]
#: The oldest Python and torch that the packages ask for, and the newest ones.
VERSIONS = [("3.11", "2.9.0"), ("3.13", "2.15.0")]
# Two processes of one thread each: the tests' tensors are too small to share among threads.
PYTEST = ("pytest", "-n", "2")
THREADS = {"OMP_NUM_THREADS": "1"}

nox.needs_version = ">=2024.4.15"  # nox.project
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "tests"]


def needed_by(pack: str) -> list[str]:
    """The other packs of ours that a pack asks for: the wrappers of which methods of it are composed."""
    dependencies = nox.project.load_toml(PACKS[pack] / "pyproject.toml")["project"]["dependencies"]
    return [other for other, name in DISTRIBUTIONS.items() if any(d.startswith(f"{name}>") for d in dependencies)]


def install(session: nox.Session, *tools: str, packs: tuple[str, ...] = tuple(PACKS)) -> None:
    """Install the core with these packs, editable, and the tools, at the versions of the constraints."""
    # The build backend stands in the environment, so that ten editable installs do not set up ten more.
    session.install("hatchling>=1.27", "editables")
    editable = [f"-e{path}" for path in (f"{ROOT}[compare,scaffold]", *(PACKS[pack] for pack in packs))]
    session.install(*CONSTRAINTS, "--no-build-isolation", *editable, *tools)


def uninstall(session: nox.Session, *packs: str) -> None:
    """Uninstall the packs that are there."""
    session.run(
        "python", "-m", "pip", "uninstall", "--yes", "--quiet", "--quiet", *(DISTRIBUTIONS[pack] for pack in packs)
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types of the core and every pack, the import layers, generated files."""
    install(session, "ruff", "mypy", "import-linter")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports")
    session.run("python", "-m", "optim_core.catalog.known", "--check")
    session.run("python", "docs/generate.py", "--check")
    session.run("python", "docs/schedules.py", "--check")
    session.run("python", "docs/conformance.py", "--check")
    rendered = Path(session.create_tmp()).resolve() / "new"
    shutil.rmtree(rendered, ignore_errors=True)
    rendered.mkdir()
    for kind, options in NEW_PACKS.items():
        session.run("optim-core", "new-pack", f"acme_{kind}", *options, "--into", str(rendered), silent=True)
        folder = rendered / f"acme-{kind}-optim"
        session.run("ruff", "check", "--quiet", str(folder))
        session.run("ruff", "format", "--quiet", "--check", str(folder))
        session.run("mypy", "--config-file=", "--strict", str(folder / f"acme_{kind}_optim"))


@nox.session
def tests(session: nox.Session) -> None:
    """The whole test-suite and every doctest, with all packs installed."""
    install(session, *TEST_TOOLS)
    session.run(*PYTEST, *session.posargs, env=THREADS)


@nox.session
@nox.parametrize(("python", "torch"), VERSIONS, ids=["oldest", "newest"])
def versions(session: nox.Session, torch: str) -> None:
    """The tests with the oldest and the newest Python and torch; what stands after `--` chooses some."""
    # what the tests themselves import may be the newest of its kind, so no constraints
    session.install("hatchling>=1.27", "editables", f"torch=={torch}", *TEST_TOOLS)
    editable = [f"-e{path}" for path in (f"{ROOT}[compare,scaffold]", *PACKS.values())]
    session.install("--no-build-isolation", *editable)
    session.run(*PYTEST, *session.posargs, env=THREADS)


@nox.session
def learns(session: nox.Session) -> None:
    """Every optimizer learns handwritten digits at a learning rate of its range; those after `--`, or all (minutes)."""
    install(session, *TEST_TOOLS)
    chosen = ("-k", " or ".join(session.posargs)) if session.posargs else ()
    session.run("pytest", "-q", "-s", "tests/learns.py", *chosen, env=THREADS)


@nox.session
def combinations(session: nox.Session) -> None:
    """Thousands of combinations of wrappers, optimizer and scheduler, or thirty times the number after `--`."""
    install(session, *TEST_TOOLS)
    shards = session.posargs[0] if session.posargs else "100"
    drawn = "tests/wrapping/test_combinations.py::test_any_combination"
    session.run(*PYTEST, drawn, env={**THREADS, "OPTIM_CORE_COMBINATIONS": shards})


@nox.session
def kit(session: nox.Session) -> None:
    """The whole conformance kit over every method; over those after `--`, or all (many minutes)."""
    install(session, *TEST_TOOLS)
    chosen = ("-k", " or ".join(session.posargs)) if session.posargs else ()
    session.run(*PYTEST, "tests/testing/test_first_party.py", *chosen, env={**THREADS, "OPTIM_CORE_KIT": "all"})


@nox.session
def golden(session: nox.Session) -> None:
    """Every recorded trajectory in every way of driving, engine and type; those after `--`, or all (minutes)."""
    install(session, *TEST_TOOLS)
    chosen = ("-k", " or ".join(session.posargs)) if session.posargs else ()
    session.run(*PYTEST, "tests/methods/test_golden.py", *chosen, env={**THREADS, "OPTIM_CORE_GOLDEN": "all"})


@nox.session
def triton(session: nox.Session) -> None:
    """The Triton engine, by its interpreter on a CPU; then compiled for a GPU, and run on one if there is one."""
    # A session of its own: the wheel is large, and the interpreter slow.
    install(session, *TEST_TOOLS, "triton", "numpy")
    engine = "tests/engines/test_triton.py"
    suites = (engine, "tests/methods/test_golden.py", "tests/rules/test_rounding.py")
    chosen = (*suites, "-k", "triton", *session.posargs)
    session.run(*PYTEST, *chosen, env={**THREADS, "TRITON_INTERPRET": "1", "OPTIM_CORE_GOLDEN": "all"})
    session.run(*PYTEST, engine, *session.posargs, env={**THREADS, "TRITON_INTERPRET": None})


@nox.session
def hosts(session: nox.Session) -> None:
    """Lightning, accelerate, transformers' Trainer and torch.distributed train with methods of every kind (minutes)."""
    install(session, *TEST_TOOLS, *HOSTS)
    session.run(*PYTEST, "tests/hosts", "tests/optimizers/test_pieces.py", *session.posargs, env=THREADS)


@nox.session
def packs(session: nox.Session) -> None:
    """Each pack beside the core and what it asks for runs its share of the tests: all of them, or those after `--`."""
    # One environment for every pack in turn: torch is most of it.
    uninstall(session, *PACKS)
    install(session, *TEST_TOOLS, packs=())
    for pack in session.posargs or PACKS:
        together = (pack, *needed_by(pack))
        session.install("--no-deps", "--no-build-isolation", *(f"-e{PACKS[each]}" for each in together))
        suites = ("tests/packs/test_installed_packs.py", "tests/testing/test_first_party.py", str(PACKS[pack]))
        session.run(*PYTEST, *suites, env=THREADS)
        uninstall(session, *together)


#: Imports every installed method, of each kind; none of them may come from the tree.
_IMPORT_ALL = """
import sys
import optim_core
from optim_core.catalog.kinds import KINDS
from optim_core.catalog.registry import registry
assert optim_core.__file__.startswith(sys.prefix), optim_core.__file__
assert not registry().failures, registry().failures
classes = [getattr(optim_core, KINDS[spec.kind].getter)(spec.name) for spec in optim_core.find()]
print(len(classes), "methods")
"""


def build(session: nox.Session, house: Path, *folders: Path) -> None:
    """Build wheels and sdists, each wheel from its sdist, by the backend that stands in the environment."""
    session.install("build", "hatchling>=1.27")
    for folder in folders:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(house), str(folder), silent=True)


class Clean:
    """An environment that gets this project's distributions from the wheel house alone."""

    def __init__(self, session: nox.Session, house: Path) -> None:
        self.session, self.house = session, house
        folder = Path(session.create_tmp()).resolve() / "clean"
        session.run("python", "-m", "virtualenv", "--clear", "--quiet", str(folder))
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")

    def run(self, program: str, *arguments: str, silent: bool = False) -> str:
        """Run a program of it, outside of the tree; returns what it writes if silent."""
        with self.session.chdir(self.house):
            return str(self.session.run(str(self.bin / program), *arguments, external=True, silent=silent))

    def install_others(self, *requirements: str) -> None:
        """Install what is not ours."""
        self.run("python", "-m", "pip", "install", "--quiet", *CONSTRAINTS, *requirements)

    def install_ours(self, *requirements: str) -> None:
        """Install from the house; what else is required has to be there."""
        self.run("python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", ".", *requirements)

    def expect(self, *distributions: str) -> None:
        """Import every method, and fail if other packs are installed than these."""
        listing = self.run("python", "-m", "pip", "list", "--format=freeze", silent=True)
        found = {line.partition("==")[0] for line in listing.splitlines()} & set(DISTRIBUTIONS.values())
        if found != set(distributions):
            self.session.error(f"{sorted(found)} are installed, not {sorted(distributions)}")
        self.run("python", "-m", "pip", "check")
        self.run("python", "-c", _IMPORT_ALL)


@nox.session(reuse_venv=False)
def wheelhouse(session: nox.Session) -> None:
    """Build every distribution into dist/, check them, install from them alone: [all], [noncommercial], each pack."""
    house = ROOT / "dist"
    shutil.rmtree(house, ignore_errors=True)
    build(session, house, ROOT, *PACKS.values())
    session.install("twine", "virtualenv")
    session.run("twine", "check", "--strict", *map(str, sorted(house.iterdir())))
    for wheel in sorted(house.glob("*.whl")):
        package, version, *_ = wheel.name.split("-")
        stray = {Path(file).parts[0] for file in ZipFile(wheel).namelist()}
        stray -= {package, f"{package}-{version}.dist-info"}
        if stray:
            session.error(f"{wheel.name} holds {sorted(stray)} beside {package}")
    clean = Clean(session, house)
    clean.install_others(*PROJECT["dependencies"])
    permissive = [DISTRIBUTIONS[pack] for pack in PACKS if pack != "noncommercial"]
    clean.install_ours("optim-core[all]")
    clean.expect(*permissive)
    clean.install_ours("optim-core[noncommercial]")
    clean.expect(*DISTRIBUTIONS.values())
    clean.install_others(*PROJECT["optional-dependencies"]["cli"])
    clean.install_ours("optim-core[cli]")
    clean.run("optim-core", "doctor")
    clean.run("optim-core", "check", *(word for pack in PACKS for word in ("--pack", pack)))
    clean.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", *DISTRIBUTIONS.values())
    for pack, distribution in DISTRIBUTIONS.items():
        clean.install_ours(distribution)
        together = (distribution, *(DISTRIBUTIONS[other] for other in needed_by(pack)))
        clean.expect(*together)
        clean.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", *together)


@nox.session
def new_pack(session: nox.Session) -> None:
    """Follow docs/writing-a-pack.md in an empty environment, then render, build and test a new pack of each kind."""
    work = Path(session.create_tmp()).resolve()
    for old in work.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    house = work / "house"
    build(session, house, ROOT)
    session.install("virtualenv")
    clean = Clean(session, house)
    (core,) = house.glob("*.whl")
    pinned = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8")
    constraints = work / "constraints.txt"
    constraints.write_text(f"{pinned}\noptim-core @ {core.as_uri()}\n", encoding="utf-8")
    page = ROOT / "docs" / "writing-a-pack.md"
    script = str(session.run("python", str(ROOT / "docs" / "follow.py"), str(page), silent=True))
    script = f"export PATH={shlex.quote(str(clean.bin))}:$PATH\n{script}"  # nox puts its own environment first
    began = time.monotonic()
    with session.chdir(work):
        session.run("bash", "-euxo", "pipefail", "-c", script, external=True, env={"PIP_CONSTRAINT": str(constraints)})
    session.log(f"From nothing to a wheel in {time.monotonic() - began:.0f} s, by {page.name}")
    for kind, options in NEW_PACKS.items():
        try_new_pack(session, clean, kind, options)
    clean.run("optim-core", "doctor")


def try_new_pack(session: nox.Session, clean: Clean, kind: str, options: tuple[str, ...]) -> None:
    """Render a new pack beside the wheel house, check its style, build and install it, and run its tests."""
    folder = clean.house.parent / f"acme-{kind}-optim"
    clean.run("optim-core", "new-pack", f"acme_{kind}", *options, "--into", str(folder.parent))
    clean.run("ruff", "check", str(folder))
    clean.run("ruff", "format", "--check", str(folder))
    build(session, clean.house, folder)
    clean.install_ours(folder.name)
    # without the source, so that the tests import what was installed
    shutil.rmtree(folder / f"acme_{kind}_optim")
    settings = ("--rootdir", str(folder), "-c", str(folder / "pyproject.toml"))
    clean.run("python", "-m", "pytest", "-q", *settings, str(folder / "tests"))


@nox.session
def peers(session: nox.Session) -> None:
    """What from_peer makes of pytorch_optimizer's and timm's optimizers takes the steps that they take (minutes)."""
    install(session, *TEST_TOOLS)
    pinned = ("--constraint", str(ROOT / "docs" / "constraints.txt"))
    session.install(*CONSTRAINTS, *pinned, "pytorch_optimizer", "opt_einsum")
    session.install(*CONSTRAINTS, *pinned, "--no-deps", "timm")  # which needs torchvision for all but optimizers
    session.run(*PYTEST, "tests/peers", *session.posargs, env=THREADS)


@nox.session
def conformance(session: nox.Session) -> None:
    """The kit over the optimizers of other libraries, into docs/conformance.*: half an hour; those after `--`, or all.

    `nox -s conformance -- timm.optim:Lion check_lr_zero_stands_still` shows what is said of one class instead.
    """
    # only the core: a pack of ours says nothing about a class of theirs
    install(session, "--constraint", str(ROOT / "docs" / "constraints.txt"), *PEERS, packs=())
    words = session.posargs
    if not any(":" in word for word in words):
        words = [part for name in words for part in ("--library", name)]
    session.run("python", "docs/conformance.py", *words, env=THREADS)


@nox.session
def bench(session: nox.Session) -> None:
    """Time, memory and first step of every method beside torch's and pytorch_optimizer's; writes docs/benchmarks.*.

    It takes an hour or two and wants a quiet machine. What stands after `--` goes to benchmarks/run.py instead:
    `nox -s bench -- --only adamw,lion --shapes small` is a quick look, and leaves docs/ alone.
    """
    # opt_einsum: without it pytorch_optimizer's Kron wants tens of gigabytes, and does not say so
    install(session, "pytorch_optimizer", "opt_einsum")
    if session.posargs[:1] in (["matrices"], ["sharpness"]):
        session.run("python", f"benchmarks/{session.posargs[0]}.py", *session.posargs[1:])
        return
    session.run("python", "benchmarks/run.py", *(session.posargs or ["--write-docs"]))
    if not session.posargs:
        for page in ("matrices", "sharpness"):
            session.run("python", f"benchmarks/{page}.py", "--write-docs")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: optimizers from five packs learn handwritten digits; a report says which did best."""
    install(session)
    out = ROOT / "runs" / "demo"
    # Its own choice: sgd, adamw, lion, sophiah, and sam around sgd.
    session.run("optim-core", "compare", "--out", str(out), *session.posargs)
    session.log(f"The report: {out / 'report.html'}")
