"""Every check and the demo, each in an environment of its own that it sets up itself.

On a machine that has nothing but Python and pip (a system Python that refuses `pip install` will do):

    python3 -m venv .venv && .venv/bin/python -m pip install --upgrade pip nox && .venv/bin/python -m nox -s demo

and the same with another session's name at its end; `nox --list` shows them. What stands after `--` goes to the
session's tool: `nox -s tests -- -k lion`. Environments are kept in .nox; `nox --no-reuse-existing-virtualenvs`
starts anew.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import nox

ROOT = Path(__file__).parent
PACKS = {path.parent.name: path.parent for path in sorted(ROOT.glob("packs/*/pyproject.toml"))}
DISTRIBUTIONS = {pack: f"optim-core-{pack.replace('_', '-')}" for pack in PACKS}
CONSTRAINTS = ("--constraint", str(ROOT / "tests" / "constraints.txt"))
TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis")
#: What stands between a training loop and an optimizer: docs/hosts.md.
HOSTS = ("lightning", "accelerate", "transformers")
# Two processes of one thread each: the tests' tensors are too small to share among threads.
PYTEST = ("pytest", "-n", "2")
THREADS = {"OMP_NUM_THREADS": "1"}

nox.needs_version = ">=2024.3.2"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "tests"]


def install(session: nox.Session, *tools: str, packs: tuple[str, ...] = tuple(PACKS)) -> None:
    """Install the core with these packs, editable, and the tools, at the versions of the constraints."""
    # The build backend stands in the environment, so that ten editable installs do not set up ten more.
    session.install("hatchling>=1.27", "editables")
    editable = [f"-e{path}" for path in (f"{ROOT}[compare]", *(PACKS[pack] for pack in packs))]
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


@nox.session
def tests(session: nox.Session) -> None:
    """The whole test-suite and every doctest, with all packs installed."""
    install(session, *TEST_TOOLS)
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
def triton(session: nox.Session) -> None:
    """The Triton engine, by its interpreter on a CPU; then compiled for a GPU, and run on one if there is one."""
    # A session of its own: the wheel is large, and the interpreter slow.
    install(session, *TEST_TOOLS, "triton", "numpy")
    engine = "tests/engines/test_triton.py"
    suites = (engine, "tests/methods/test_golden.py", "tests/rules/test_rounding.py")
    chosen = (*suites, "-k", "triton", *session.posargs)
    session.run(*PYTEST, *chosen, env={**THREADS, "TRITON_INTERPRET": "1"})
    session.run(*PYTEST, engine, *session.posargs, env={**THREADS, "TRITON_INTERPRET": None})


@nox.session
def hosts(session: nox.Session) -> None:
    """Lightning, accelerate, transformers' Trainer and torch.distributed train with methods of every kind (minutes)."""
    install(session, *TEST_TOOLS, *HOSTS)
    session.run(*PYTEST, "tests/hosts", "tests/optimizers/test_pieces.py", *session.posargs, env=THREADS)


@nox.session
def packs(session: nox.Session) -> None:
    """Each pack alone beside the core runs its share of the tests: all of them, or those after `--`."""
    # One environment for every pack in turn: torch is most of it.
    uninstall(session, *PACKS)
    install(session, *TEST_TOOLS, packs=())
    for pack in session.posargs or PACKS:
        session.install("--no-deps", "--no-build-isolation", f"-e{PACKS[pack]}")
        suites = ("tests/packs/test_installed_packs.py", "tests/testing/test_first_party.py", str(PACKS[pack]))
        session.run(*PYTEST, *suites, env=THREADS)
        uninstall(session, pack)


#: Imports every installed method, of each kind.
_IMPORT_ALL = """
import optim_core
from optim_core.catalog.kinds import KINDS
classes = [getattr(optim_core, KINDS[spec.kind].getter)(spec.name) for spec in optim_core.find()]
print(len(classes), "methods")
"""


@nox.session(reuse_venv=False)
def wheels(session: nox.Session) -> None:
    """Build every distribution, install from what was built only, see that `[all]` brings what it says."""
    house = Path(session.create_tmp()) / "house"
    session.install("build")
    for path in (ROOT, *PACKS.values()):
        session.run("python", "-m", "build", "--outdir", str(house), str(path), silent=True)
    for wheel in sorted(house.glob("*.whl")):
        package, version, *_ = wheel.name.split("-")
        stray = {Path(file).parts[0] for file in ZipFile(wheel).namelist()}
        stray -= {package, f"{package}-{version}.dist-info"}
        if stray:
            session.error(f"{wheel.name} holds {sorted(stray)} beside {package}")
    session.install(*CONSTRAINTS, "torch", "pluggy", "importlib-metadata")
    expected: set[str] = set()
    for extra, brings in {"all": PACKS.keys() - {"noncommercial"}, "noncommercial": {"noncommercial"}}.items():
        session.install("--no-index", "--find-links", str(house), f"optim-core[{extra}]")
        expected |= {DISTRIBUTIONS[pack] for pack in brings}
        listing = str(session.run("python", "-m", "pip", "list", "--format=freeze", silent=True))
        names = {line.partition("==")[0] for line in listing.splitlines()}
        found = names & set(DISTRIBUTIONS.values())
        if found != expected:
            session.error(f"optim-core[{extra}] brought {sorted(found)}, not {sorted(expected)}")
        # From outside the tree, so that only what was installed can be imported.
        with session.chdir(house):
            session.run("python", "-c", _IMPORT_ALL)


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
