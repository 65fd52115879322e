"""Trajectories: what code did, step by step, in a file; and what a method must therefore do on every engine.

The file has the form of those in the project's ``tests/golden``: ``{"optimizer": NAME, "cases": [...]}``, each case
with its problem (a name in :mod:`optim_core.testing.problems`), the options, the loss before each step and the
parameters after some of them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optim_core.catalog.registry import load_class, registry
from optim_core.errors import ConformanceError, EngineUnavailable, InvalidOption
from optim_core.names import did_you_mean
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.stepping import minimize
from optim_core.testing.problems import PROBLEMS, Problem
from optim_core.testing.small import deviation

#: The largest deviation from a recorded number, as a share of its tensor's largest: they are written with 13 digits.
TOLERANCE = 1e-10
_STEPS = 20
#: The steps after which parameters are recorded.
_RECORDED = (1, 2, 3, 5, 10, 20)
_KNOWN = frozenset({"case", "problem", "source", "how", "kwargs", "losses", "params"})


def record(
    cls: Callable[..., Any],
    options: Mapping[str, Any] | None = None,
    *,
    problem: str = "net",
    steps: int = _STEPS,
    source: str = "",
    into: str | Path | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Record what a class does: the authors' own code, for a method that follows it to be held against.

    Args:
        cls: a ``torch.optim.Optimizer``.
        options: what it is built with.
        problem: the problem's name, a key of ``PROBLEMS``, with one loss.
        steps: how many.
        source: where the code is from: a URL with its version.
        into: a file that the case is added to, and that is made if there is none.
        name: the method that the case is of, as for :func:`optim_core.get`; for a new file.

    Returns:
        The case.

    Raises:
        InvalidOption: there is no such problem.

    Example:
        >>> import torch
        >>> from optim_core.testing import record
        >>> case = record(torch.optim.SGD, {"lr": 0.1}, steps=2)
        >>> len(case["losses"]), sorted(case["params"])
        (2, ['1', '2'])
    """
    case = {"case": problem, "problem": problem, "source": source, "kwargs": dict(options or {})}
    case |= _recorded(cls, options or {}, _problem(problem), steps)
    if into is not None:
        _add(Path(into), case, name)
    return case


def _recorded(cls: Callable[..., Any], options: Mapping[str, Any], problem: Problem, steps: int) -> dict[str, Any]:
    losses: list[float] = []
    recorded: dict[str, Any] = {}
    for n, (loss, params) in enumerate(_steps(cls, options, problem, steps), start=1):
        losses.append(_digits(loss))
        if n in _RECORDED or n == steps:
            recorded[str(n)] = [[*map(_digits, p.detach().flatten())] for p in params]
    return {"losses": losses, "params": recorded}


def _add(path: Path, case: dict[str, Any], name: str) -> None:
    held: dict[str, Any] = {"optimizer": name, "cases": []}
    if path.exists():
        held = json.loads(path.read_text(encoding="utf-8"))
    held["cases"] = [*(other for other in held["cases"] if not _is_same(other, case)), case]
    path.write_text(json.dumps(held) + "\n", encoding="utf-8")


def _is_same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two cases are of the same run; JSON has no tuples."""
    return all(json.dumps(a[key]) == json.dumps(b[key]) for key in ("problem", "kwargs"))


def _digits(x: Any) -> float:
    return float(f"{float(x):.13g}")


def replay(file: str | Path, cls: Callable[..., Any] | None = None) -> float:
    """Hold a method against the trajectories of a file, on every engine that it has.

    Args:
        file: as :func:`record` writes it.
        cls: the method; by default the one that the file names.

    Returns:
        The largest deviation, as a share of a tensor's largest element.

    Raises:
        ConformanceError: it goes another way; the text says at which step.
        InvalidOption: the file holds what is not understood here.

    Example:
        >>> replay("tests/golden/acme.json")  # doctest: +SKIP
    """
    held = json.loads(Path(file).read_text(encoding="utf-8"))
    found = load_class(registry().spec(held["optimizer"])) if cls is None else cls
    return max(_replayed(found, case, str(file)) for case in held["cases"])


def _replayed(cls: Callable[..., Any], case: Mapping[str, Any], file: str) -> float:
    strange = sorted(case.keys() - _KNOWN)
    if strange:
        raise InvalidOption(f"{file}: a case has {', '.join(strange)}, which replay() does not understand")
    options = {name: tuple(x) if isinstance(x, list) else x for name, x in case["kwargs"].items()}
    worst = 0.0
    for way in _ways(cls):
        steps = _steps(cls, options | way, _problem(case["problem"]), len(case["losses"]))
        try:
            for n, (loss, params) in enumerate(steps, start=1):
                pairs = [(loss, torch.tensor(case["losses"][n - 1], dtype=torch.float64))]
                wanted = [torch.tensor(x, dtype=torch.float64) for x in case["params"].get(str(n), ())]
                pairs += [(p.detach().flatten(), x) for p, x in zip(params, wanted, strict=False)]
                worst = max(worst, _within(pairs, n, f"{options | way} leaves the trajectory in {file}"))
        except EngineUnavailable:
            continue
    return worst


def against(
    reference: Callable[..., Any],
    cls: Callable[..., Any],
    options: Mapping[str, Any] | None = None,
    *,
    problems: Sequence[str] = ("net", "diag"),
    steps: int = _STEPS,
) -> float:
    """Hold a method against a slow reference, on every engine that it has.

    Args:
        reference: a ``torch.optim.Optimizer`` that takes the same options: ten lines will do.
        cls: the method.
        options: what both are built with.
        problems: the problems' names.
        steps: how many.

    Returns:
        The largest deviation, as a share of a tensor's largest element.

    Raises:
        ConformanceError: they part; the text says at which step.

    Example:
        >>> import torch, optim_core
        >>> from optim_core.testing import against
        >>> against(torch.optim.SGD, torch.optim.SGD, {"lr": 0.1})
        0.0
    """
    given = dict(options or {})
    return max(_apart(reference, cls, given, way, _problem(name), steps) for name in problems for way in _ways(cls))


def _apart(
    reference: Callable[..., Any],
    cls: Callable[..., Any],
    options: dict[str, Any],
    way: Any,
    problem: Problem,
    steps: int,
) -> float:
    """How far two classes come apart on a problem; 0 if the engine is not there."""
    worst = 0.0
    runs = _steps(reference, options, problem, steps), _steps(cls, options | way, problem, steps)
    parted = f"{_name(cls)} with {options | way} parts from {_name(reference)}"
    with contextlib.suppress(EngineUnavailable):
        for n, ((a, theirs), (b, ours)) in enumerate(zip(*runs, strict=True), start=1):
            worst = max(worst, _within([(b, a), *zip(ours, theirs, strict=True)], n, parted))
    return worst


def _within(pairs: Sequence[tuple[Tensor, Tensor]], step: int, parted: str) -> float:
    worst = max(deviation(x.double(), y.double()) for x, y in pairs)
    if worst > TOLERANCE:
        raise ConformanceError(f"{parted} at step {step}, by {worst:.1e} of the largest element")
    return worst


def _ways(cls: Any) -> list[dict[str, Any]]:
    if isinstance(cls, type) and issubclass(cls, RuleOptimizer):
        return [{"foreach": True}, {"foreach": False}, {"engine": "native"}]
    return [{}]


def _steps(
    cls: Callable[..., Any], options: Mapping[str, Any], problem: Problem, steps: int
) -> Iterator[tuple[Tensor, list[Any]]]:
    """Each step's loss, and the parameters after it."""
    params = problem.parameters()
    optimizer = cls(params, **options)
    for t in range(steps):
        loss = minimize(optimizer, partial(problem.loss, params, t))
        yield loss.detach(), params


def _problem(name: str) -> Problem:
    if name not in PROBLEMS:
        raise InvalidOption(
            f"there is no problem {name!r}.{did_you_mean(name, PROBLEMS)} There are: {', '.join(PROBLEMS)}"
        )
    return PROBLEMS[name]


def _name(cls: Any) -> str:
    return str(getattr(cls, "__qualname__", cls))
