"""What a method says that it needs beside gradients: no less, and no more."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optim_core.catalog.needs import NEEDS
from optim_core.catalog.strangers import described
from optim_core.optimizers import closures
from optim_core.testing.check import check, fail, require
from optim_core.testing.checks.catalog import has_spec
from optim_core.testing.checks.construction import is_optimizer
from optim_core.testing.small import closure as closure_of
from optim_core.testing.small import copies, equal, loss
from optim_core.testing.subject import Subject

_STEPS = 12


def _by_hand(
    subject: Subject,
    *,
    graph: bool = False,
    closure: bool = False,
    several: bool = False,
    before: bool = False,
    names: bool | None = None,
) -> tuple[list[Tensor], int]:
    """Steps in torch's own way, with what is asked for; where they lead, and the most evaluations in one of them."""
    torch.manual_seed(0)
    params = subject.params()
    named = "named_params" in subject.needs if names is None else names
    optimizer = subject.build_plainly(params, named=named)
    most = 0
    for t in range(_STEPS):
        calls: list[int] = []

        def evaluated(t: int = t, calls: list[int] = calls) -> Any:
            calls.append(1)
            optimizer.zero_grad()
            if several:
                return closure_of(params, t, several=True)()
            value = loss(params, t)
            closures.backward(value, create_graph=graph)
            return value

        if before:
            evaluated()
            calls.clear()
        if closure or several:
            optimizer.step(evaluated)
        else:
            evaluated()
            optimizer.step()
        most = max(most, len(calls))
        closures.drop_graph(params)
    return copies(params), most


def _try(run: Callable[[], Any]) -> tuple[Any, str]:
    """What comes of a run, and the exception in words if it fails."""
    try:
        return run(), ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 - strangers' code may raise anything
        return None, described(error)


def _goes(subject: Subject, way: dict[str, Any]) -> bool:
    """Whether steps in a way succeed, and lead somewhere."""
    found, failure = _try(lambda: _by_hand(subject, **way))
    return not failure and not equal(found[0], subject.params())


def is_single(subject: Any) -> bool:
    """An optimizer that is no wrapper: the needs of those are their base's too."""
    return is_optimizer(subject) and subject.kind == "optimizer"


@check(is_single, steps=False)
def check_every_need_is_declared(subject: Subject) -> None:
    """What it does not declare to need, it does without: a graph of the gradients, a closure, several losses.

    Remedy: ``needs = frozenset({"create_graph"})`` in the class, and the same in its spec: ``needs=("create_graph",)``.
    """
    ways = {
        "create_graph": {"graph": True},
        "closure": {"closure": True},
        "multi_loss": {"several": True},
        "gradients": {"closure": True, "before": True},
    }
    declared = {name: way for name, way in ways.items() if name in subject.needs}
    given = {key: x for way in declared.values() for key, x in way.items()}
    if "loss" in subject.needs:
        given["closure"] = True
    _, failure = _try(lambda: _by_hand(subject, **given))
    if not failure:
        return
    for name, way in ways.items():
        if name not in declared and _goes(subject, {**given, **way}):
            words: Any = NEEDS
            silent = f"it needs {name!r} ({words[name]}), and its needs do not say so"
            fail(f"{silent}: without it, a step fails ({failure})")
    if "named_params" not in subject.needs and _goes(subject, {**given, "names": True}):
        fail(f"without names of the parameters a step fails ({failure}), and its needs do not say 'named_params'")
    fail(f"a step fails: {failure}")


@check(lambda subject: is_single(subject) and bool(subject.needs))
def check_every_declared_need_is_real(subject: Subject) -> None:
    """What it declares to need makes a difference to it: users are asked for nothing in vain.

    Remedy: remove the need named from the class and from its spec.
    """
    given = {"graph": "create_graph" in subject.needs, "several": "multi_loss" in subject.needs}
    given |= {"closure": bool(subject.needs & {"closure", "loss"}), "before": "gradients" in subject.needs}
    usual, most = _by_hand(subject, **given)
    for need in sorted(subject.needs):
        require(_matters(subject, need, given, usual, most), f"it declares to need {need!r}, and does as well without")


def _matters(subject: Subject, need: str, given: dict[str, bool], usual: list[Tensor], most: int) -> bool:
    """Whether steps without something fail, or lead elsewhere."""
    options = subject.defaults.keys()
    if need in ("total_steps", "betas", "metric"):
        return need in options or "total_steps" in inspect.signature(subject.target).parameters
    if need == "train_eval_mode":
        return _has_two_points(subject)
    if need == "closure" and most > 1:
        return True
    without = {
        "create_graph": {"graph": False},
        "multi_loss": {"several": False},
        "closure": {"closure": False},
        "loss": {"closure": False},
        "gradients": {"before": False},
        "named_params": {"names": False},
    }[need]
    found, failure = _try(lambda: _by_hand(subject, **{**given, **without}))
    return bool(failure) or not equal(found[0], usual)


def _has_two_points(subject: Subject) -> bool:
    """Whether eval() and train() exchange what the parameters hold."""
    params = subject.params()
    optimizer = subject.build(params)
    if not all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval")):
        return False
    subject.train(optimizer, params, 6)
    before = copies(params)
    optimizer.eval()
    return not equal(before, params)


@check(lambda subject: has_spec(subject) and hasattr(subject.target, "needs"), steps=False)
def check_spec_and_class_agree_on_needs(subject: Subject) -> None:
    """The spec repeats the needs of the class: users read it, and programs rely on it.

    Remedy: ``needs=(...)`` in the manifest as ``needs = frozenset({...})`` in the class.
    """
    spec: Any = subject.spec
    says, does = sorted(spec.needs), sorted(subject.target.needs)
    require(says == does, f"the spec says that it needs {says}, the class {does}")
