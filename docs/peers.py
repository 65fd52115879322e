"""Other libraries' optimizers beside ours: their signatures, and whether ``from_peer`` gives the same steps.

python docs/peers.py --signatures     writes optim_core/peers/signatures.json from the libraries that are installed
python docs/peers.py                  runs each optimizer of theirs beside its counterpart, and prints what differs
python docs/peers.py adamp lion       those of these names

Needs pytorch_optimizer and timm (which without its dependencies will do).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import io
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import optim_core
from optim_core.errors import NoCounterpart, OptimCoreError
from optim_core.peers.tables import REQUIRED, Peer, libraries, name_of, peers
from optim_core.testing.problems import PROBLEMS

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
of_theirs = importlib.import_module("theirs")
FILE = HERE.parent / "optim_core" / "peers" / "signatures.json"
STEPS = 30
#: Two ways of summing differ by this much after so many steps.
SAME = 1e-9


# signatures ----------------------------------------------------------------------------------------------------
def written(value: Any) -> Any:
    """A default as JSON has it."""
    if "required parameter" in str(value):  # torch's old way
        return REQUIRED
    if isinstance(value, (tuple, list)):
        return [written(x) for x in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else name_of(value)


def options_of(cls: Any) -> dict[str, Any]:
    """The options of a constructor, without what an optimizer is made for."""
    parameters = list(inspect.signature(cls).parameters.values())
    named = [x for x in parameters if x.kind in (x.POSITIONAL_OR_KEYWORD, x.KEYWORD_ONLY)]
    return {
        x.name: REQUIRED if x.default is x.empty else written(x.default)
        for x in named
        if x.name not in ("params", "model")
    }


def of_pytorch_optimizer() -> dict[str, Any]:
    """Every optimizer that it makes by name."""
    from pytorch_optimizer.optimizer import OPTIMIZERS

    found = {name: {"class": cls.__name__, "options": options_of(cls)} for name, cls in OPTIMIZERS.items()}
    for entry in found.values():  # taken as keywords, and known to its base class
        entry["options"] |= {"cautious": False} if "cautious" not in entry["options"] else {}
    return found


def of_timm() -> dict[str, Any]:
    """Every optimizer that it makes by name, with the defaults that go with the name."""
    optim = of_theirs.models_of_timm()
    found = {}
    for name in optim.list_optimizers():
        info = optim.get_optimizer_info(name)
        missing = isinstance(info.opt_class, str)  # of a package that is not installed
        cls = info.opt_class.rpartition(".")[2] if missing else info.opt_class.__name__
        options = {} if missing else options_of(info.opt_class)
        named = {option: written(x) for option, x in (info.defaults or {}).items()}
        found[name] = {"class": cls, "options": {**options, **named}}
    return found


def signatures() -> str:
    """The table, as it is written."""
    makers = {"pytorch_optimizer": of_pytorch_optimizer, "timm": of_timm}
    table = {
        library: {"version": importlib.metadata.version(library), "optimizers": make()}
        for library, make in makers.items()
    }
    return json.dumps(table, indent=1) + "\n"


# running -------------------------------------------------------------------------------------------------------
def their_class(theirs: Peer) -> Any:
    """Their class."""
    if theirs.library == "timm":
        return of_theirs.models_of_timm().get_optimizer_info(theirs.name).opt_class
    from pytorch_optimizer.optimizer import OPTIMIZERS

    return OPTIMIZERS[theirs.name]


def path(optimizer: Any, params: list[Any], problem: Any) -> Iterator[list[Tensor]]:
    """The weights after each step, as a plain loop drives any optimizer."""
    name = type(optimizer).__name__.lower()
    twice = "hessian" in name or "sophia" in name
    for t in range(STEPS):
        if hasattr(optimizer, "train"):
            optimizer.train()

        def closure(t: int = t) -> Any:
            with torch.enable_grad():
                optimizer.zero_grad()
                loss = problem.loss(params, t)
                loss.backward(create_graph=twice)
            return loss

        if hasattr(optimizer, "fused_backward") and not hasattr(optimizer, "minimize"):  # theirs has no step()
            optimizer.fused_backward(problem.loss(params, t), optimizer.lr)
        else:
            optimizer.step(closure)
        if hasattr(optimizer, "eval"):
            optimizer.eval()
        yield [p.detach().clone() for p in params]


def needed(theirs: Peer) -> dict[str, Any]:
    """Options that an optimizer cannot do without, or that timm itself always gives."""
    required = {k: 0.01 if k == "lr" else 100 for k, x in theirs.options.items() if x == REQUIRED}
    return required | ({"momentum": 0.9} if theirs.library == "timm" and "momentum" in theirs.options else {})


def compare(theirs: Peer, **options: Any) -> str:
    """Run an optimizer and its counterpart over the same losses: ``same``, ``differs``, ``none``, or what failed."""
    problem = PROBLEMS["net"]
    try:
        ours = optim_core.from_peer(theirs.library, theirs.name, **options)
    except NoCounterpart as none:
        return f"none: {none}"
    except OptimCoreError as refused:
        return f"refused: {refused}"
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            cls = their_class(theirs)
            named = {k: x for k, x in theirs.options.items() if k in options_of(cls) and x != options_of(cls)[k]}
            their_params = problem.parameters()
            their_path = path(cls(of_theirs.given(cls, their_params), **{**named, **options}), their_params, problem)
            theirs_at = [next(their_path) for _ in range(STEPS)]
    except Exception as failed:  # noqa: BLE001 - theirs may raise anything
        return f"theirs fails: {type(failed).__name__}: {failed}"
    try:
        our_params = problem.parameters()
        our_path = path(ours(our_params), our_params, problem)
        for t, expected in enumerate(theirs_at, start=1):
            worst = max(
                float((p - q).abs().max() / q.abs().max().clamp(min=1e-30))
                for p, q in zip(next(our_path), expected, strict=True)
            )
            if not worst < SAME:
                return f"differs from step {t} on, by {worst:.2g}: {ours}"
    except OptimCoreError as failed:
        return f"ours fails: {type(failed).__name__}: {failed}"
    return "same"


def main(names: list[str]) -> None:
    """Print how each goes."""
    torch.set_default_dtype(torch.float64)
    for library in libraries():
        for theirs in peers(library):
            if names and theirs.name not in names:
                continue
            print(f"{library:18} {theirs.name:22} {compare(theirs, **needed(theirs))}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--signatures"]:
        FILE.write_text(signatures(), encoding="utf-8")
    else:
        main(sys.argv[1:])
