"""Runs other packages beside ours, as differences.toml says, and writes the tables of differences.md.

python docs/differences.py            prints them
python docs/differences.py --write    puts them into the page

Needs every pack of ours, and the packages of PROGRAMS (timm without its dependencies will do). What is
not installed is said not to be.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import math
import sys
import tomllib
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.catalog.registry import registry

HERE = Path(__file__).resolve().parent
PAGE = HERE / "differences.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
sys.path.insert(0, str(HERE.parent / "tests"))
sys.path.insert(0, str(HERE))
of_theirs = importlib.import_module("theirs")
problems = importlib.import_module("optim_core.testing.problems").PROBLEMS

#: Where a distribution has its optimizers.
PROGRAMS = {
    "torch": "torch.optim",
    "pytorch_optimizer": "pytorch_optimizer",
    "torch_optimizer": "torch_optimizer",
    "timm": "timm.optim",
    "adabelief-pytorch": "adabelief_pytorch",
    "adabound": "adabound",
    "adamp": "adamp",
    "dadaptation": "dadaptation",
    "lion-pytorch": "lion_pytorch",
    "madgrad": "madgrad",
    "prodigyopt": "prodigyopt",
    "qhoptim": "qhoptim.pyt",
    "ranger21": "ranger21",
    "schedulefree": "schedulefree",
}
STEPS = 30
SAME = "The same with equal options."

Build = Callable[[Any], Any]
Options = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of differences.toml, which says what its entries mean."""

    method: str
    program: str
    text: str = SAME
    cls: str = ""
    theirs: Options
    ours: Options
    problem: str = "net"
    against: Options | None = None
    look: str = ""
    around: Options | None = None
    here: Options | None = None
    created: str = ""

    @property
    def pack(self) -> str:
        """Where our method is; create_optimizer is the core's."""
        if self.created:
            return "create_optimizer"
        kind = "optimizer" if self.cls and self.here is None else None
        return registry().entry(self.method, kind).pack.name

    def build(self, params: Any, **more: Any) -> Any:
        """Their optimizer."""
        cls = getattr(importlib.import_module(PROGRAMS[self.program]), self.cls)
        return cls(of_theirs.given(cls, params), **self.theirs, **more)

    def build_ours(self, params: Sequence[Tensor]) -> Any:
        """Our optimizer."""
        each = {name: value["each"] for name, value in self.ours.items() if isinstance(value, dict)}
        common = {name: value for name, value in self.ours.items() if name not in each}
        groups = [{"params": [p], **{name: values[i] for name, values in each.items()}} for i, p in enumerate(params)]
        return optim_core.get(self.method)(groups if each else params, **common)


def rows() -> list[Row]:
    """All of them."""
    found = []
    for row in tomllib.loads((HERE / "differences.toml").read_text(encoding="utf-8"))["row"]:
        options = {name: plain(row.pop(name, None)) for name in ("theirs", "ours", "against", "around", "here")}
        options |= {name: options[name] or {} for name in ("theirs", "ours")}
        found.append(Row(cls=row.pop("class", ""), **row, **options))
    return found


def plain(value: Any) -> Any:
    """TOML has neither None nor tuples."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return tuple(map(plain, value))
    return None if value == "none" else value


# running ---------------------------------------------------------------------------------------------------------
def closure(problem: str, params: Sequence[Tensor], t: int) -> Callable[[], Any]:
    """Returns the loss of step t."""
    return lambda: problems[problem].loss(params, t)


def reevaluated(problem: str, params: Sequence[Tensor], t: int) -> Callable[[], Any]:
    """A closure as torch's optimizers take them."""

    def evaluate() -> Any:
        for p in params:
            p.grad = None
        with torch.enable_grad():
            loss = problems[problem].loss(params, t)
            loss.backward()
        return loss.detach()

    return evaluate


def path(build: Build, problem: str = "net") -> Iterator[list[Parameter]]:
    """The weights after each step of a foreign optimizer."""
    params = problems[problem].parameters()
    optimizer = build(params)
    if hasattr(optimizer, "train"):
        optimizer.train()
    for t in range(STEPS):
        loss = problems[problem].loss(params, t)
        for p in params:
            p.grad = None
        if type(optimizer).__name__ in ("BSAM", "LBFGS"):  # which have no step without a closure
            optimizer.step(reevaluated(problem, params, t))
            yield params
            continue
        if hasattr(optimizer, "fused_backward"):  # which has no step()
            optimizer.fused_backward(loss, optimizer.lr)
            yield params
            continue
        loss.backward(
            create_graph="hessian" in type(optimizer).__name__.lower() or "Sophia" in type(optimizer).__name__
        )
        if "AliG" in type(optimizer).__name__:
            optimizer.step(loss.detach)
        else:
            optimizer.step()
        yield params


def path_of(row: Row) -> Iterator[list[Parameter]]:
    """The same for a row."""
    return path(row.build, row.problem)


def path_of_ours(row: Row) -> Iterator[list[Parameter]]:
    """The same with our optimizer."""
    params = problems[row.problem].parameters()
    optimizer = row.build_ours(params)
    for t in range(STEPS):
        optimizer.minimize(closure(row.problem, params, t))
        yield params


def wrapped_path(row: Row) -> Iterator[list[Parameter]]:
    """The weights after each step of a foreign wrapper around torch's SGD, or of what their create_optimizer makes."""
    params = problems[row.problem].parameters()
    their = getattr(importlib.import_module(PROGRAMS[row.program]), row.cls)
    optimizer = wrapped(row, their, params)
    for t in range(STEPS):

        def evaluate(t: int = t) -> Any:
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = problems[row.problem].loss(params, t)
            loss.backward()
            return (None, loss.detach()) if "rho_scheduler" in takes(their) else loss.detach()

        if hasattr(optimizer, "pc_backward"):
            optimizer.pc_backward(problems[row.problem].loss(params, t))
            optimizer.step()
            yield params
            continue
        evaluate()
        if not row.created and "base_optimizer" in takes(their):
            optimizer.step(evaluate)
        else:
            if not row.created and not inspect.isclass(their):
                for p in params:
                    new = their(*([p] if "p" in takes(their) else []), p.grad, **row.theirs)
                    p.grad = p.grad if new is None else new.detach()
            optimizer.step()
        yield params


def takes(their: Any) -> Collection[str]:
    """The names of its arguments."""
    return inspect.signature(their).parameters


def wrapped(row: Row, their: Any, params: Sequence[Parameter]) -> Any:
    """Their wrapper around SGD, however it is built; around a function of gradients SGD alone."""
    around, model = row.around or {}, torch.nn.ParameterList(params)
    if row.created:
        return their(model, row.created, **row.theirs)
    sgd = torch.optim.SGD(params, **around)
    if not inspect.isclass(their):
        return sgd
    needed = {"model": model} if "model" in takes(their) else {}
    if "rho_scheduler" in takes(their):
        constant = torch.optim.lr_scheduler.ConstantLR(sgd, factor=1.0)
        schedule = importlib.import_module(PROGRAMS[row.program]).ProportionScheduler
        radius = {name: row.theirs[name] for name in ("min_value", "max_value") if name in row.theirs}
        others = {name: value for name, value in row.theirs.items() if name not in radius}
        needed |= {"rho_scheduler": schedule(constant, max_lr=1.0, **radius)}
        return their(params=params, base_optimizer=sgd, **needed, **others)
    if "base_optimizer" in takes(their):
        return their(params=params, base_optimizer=torch.optim.SGD, **needed, **around, **row.theirs)
    return their(sgd, **row.theirs)


def wrapped_path_of_ours(row: Row) -> Iterator[list[Parameter]]:
    """The same with ours."""
    params = problems[row.problem].parameters()
    model = torch.nn.ParameterList(params)
    if row.created:
        optimizer = optim_core.create_optimizer(model, row.created, **(row.here or {}))
    else:
        wrappers = [(row.method, row.here or {})]
        optimizer = optim_core.create_optimizer(model, "sgd", wrappers=wrappers, **(row.around or {}))
    for t in range(STEPS):
        optim_core.minimize(optimizer, closure(row.problem, params, t))
        yield params


def deviation(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the largest weight of its tensor."""
    with torch.no_grad():
        return max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(a, b, strict=True))


def measured(row: Row) -> tuple[str, str]:
    """What the last two cells of a row say."""
    if not row.cls:
        return "read", ""
    try:
        if row.look:
            return LOOKS[row.look](row.build), ""
        if row.against is not None:
            other = row.against
            pairs = zip(path(row.build), path(lambda params: row.build(params, **other)), strict=True)
            return f"no effect: {number(max(deviation(a, b) for a, b in pairs))}", ""
        theirs, mine = (wrapped_path, wrapped_path_of_ours) if row.here is not None else (path_of, path_of_ours)
        found = [deviation(a, b) for a, b in zip(theirs(row), mine(row), strict=True)]
    except ImportError:
        return "not installed", ""
    except Exception as problem:  # noqa: BLE001 - that it fails is what is to be told
        return f"raises {type(problem).__name__}", ""
    return number(found[0]), number(found[-1])


def number(x: float) -> str:
    """One or two digits.

    Example:
        >>> number(0.0), number(1.234e-8), number(0.1234), number(12.3)
        ('0', '1e-8', '0.12', '12')
    """
    if not math.isfinite(x):
        return "not finite"
    if x == 0 or 0.01 <= x < 100:
        return f"{x:.2g}"
    digits, _, exponent = f"{x:.0e}".partition("e")
    return f"{digits}e{int(exponent)}"


# other ways of seeing a difference -------------------------------------------------------------------------------
def ones() -> Parameter:
    """A parameter."""
    return Parameter(torch.ones(2, 2, dtype=torch.float64))


def pull(optimizer: Any, *params: Parameter, steps: int = 3) -> None:
    """Steps whose gradients are the weights."""
    for _ in range(steps):
        for p in params:
            p.grad = p.detach().clone()
        optimizer.step()


def zero_gradient(build: Build) -> str:
    """What comes of a first gradient of zeros."""
    p = ones()
    optimizer = build([p])
    p.grad = torch.zeros_like(p)
    optimizer.step()
    return "NaN" if p.isnan().any() else "finite"


def late_group(build: Build) -> str:
    """Whether a group that is added after construction moves."""
    p, q = ones(), ones()
    optimizer = build([p])
    optimizer.add_param_group({"params": [q]})
    pull(optimizer, p, q)
    return "never moves" if (q == 1).all() else "moves"


def lr_zero(build: Build) -> str:
    """Whether a group with lr = 0 moves beside one that does."""
    p, q = ones(), ones()
    pull(build([{"params": [p]}, {"params": [q], "lr": 0.0}]), p, q)
    return "stands still" if (q == 1).all() else "moves"


def gradient_after(build: Build) -> str:
    """Whether step() leaves p.grad alone."""
    p = ones()
    optimizer = build([p])
    optimizer.train()
    pull(optimizer, p, steps=2)
    p.grad = torch.full_like(p, 0.5)
    optimizer.step()
    return "kept" if (p.grad == 0.5).all() else "overwritten"


def two_rates(build: Build) -> str:
    """How far the second of two groups is from where it would be alone."""

    def run(*before: dict[str, Any]) -> Parameter:
        q = ones()
        pull(
            build([*before, {"params": [q], "lr": 0.001}]),
            q,
            *(p for group in before for p in group["params"]),
            steps=8,
        )
        return q

    return f"off by {number(deviation([run({'params': [ones()], 'lr': 0.1})], [run()]))}"


LOOKS = {look.__name__: look for look in (zero_gradient, late_group, lr_zero, gradient_after, two_rates)}


# writing ---------------------------------------------------------------------------------------------------------
def tables() -> Iterator[str]:
    """A table a pack."""
    listed = rows()
    for pack in dict.fromkeys(row.pack for row in listed):
        yield f"\n## {pack}\n"
        yield "| method | program | what differs | step 1 | step 30 |"
        yield "|---|---|---|---|---|"
        last = ""
        for row in (row for row in listed if row.pack == pack):
            name = f"`{row.method}`" if row.method != last else ""
            last = row.method
            yield f"| {' | '.join([name, row.program, row.text, *measured(row)])} |"


def versions() -> str:
    """What was run."""
    found = []
    for program in PROGRAMS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{program} {importlib.metadata.version(program).partition('+')[0]}")
    return f"Run: {', '.join(found)}."


def main(*, write: bool) -> None:
    """Print the tables, or write them into the page."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):
        of_theirs.models_of_timm()
    with contextlib.redirect_stdout(io.StringIO()):  # some classes greet
        text = "\n".join([versions(), *tables()])
    if not write:
        print(text)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(write="--write" in sys.argv[1:])
