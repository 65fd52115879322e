"""Which engine runs a bucket, and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optim_core.errors import EngineUnavailable, InvalidOption
from optim_core.rules import memory, native
from optim_core.rules.bucket import Bucket
from optim_core.rules.graph import Home

logger = logging.getLogger("optim_core")

ENGINES = ("auto", "eager", "native")
#: Elements of all parameters below which code of its own does not pay: the eager engine has done before it is loaded.
TINY = 1 << 12


@dataclass(frozen=True)
class Choice:
    """An engine, and why that one."""

    engine: str
    reason: str


def checked(engine: object, foreach: object, owner: str) -> None:
    """Refuse what no engine can be asked for.

    Raises:
        InvalidOption: with what is possible.
    """
    if engine not in ENGINES:
        raise InvalidOption(f"{owner}: engine={engine!r} is not one of {', '.join(map(repr, ENGINES))}")
    if foreach not in (None, True, False):
        raise InvalidOption(f"{owner}: foreach={foreach!r} is not one of None, True, False")
    if foreach is not None and engine not in ("auto", "eager"):
        raise InvalidOption(f"{owner}: foreach={foreach!r} is a way of the eager engine; engine={engine!r} has none")


def asked_for(engine: str) -> tuple[str, str]:
    """The engine that an optimizer is to use, and who says so.

    Raises:
        InvalidOption: the environment variable names no engine.
    """
    if engine != "auto":
        return engine, "asked for"
    named = os.environ.get("OPTIM_CORE_ENGINE", "auto")
    if named not in ENGINES:
        raise InvalidOption(f"OPTIM_CORE_ENGINE={named!r} is not one of {', '.join(map(repr, ENGINES))}")
    return named, "OPTIM_CORE_ENGINE"


def choose(
    engine: str, foreach: bool | None, tensors: Mapping[str, Tensor], homes: Mapping[str, Home], real: torch.dtype
) -> Choice:
    """The engine for one parameter.

    Args:
        engine, foreach: the optimizer's own.
        tensors: the parameter's buffers, by name.
        homes: where each of them lives.
        real: the type to compute in.

    Raises:
        EngineUnavailable: the engine that was asked for cannot take it.
    """
    name, who = asked_for(engine)
    if name == "eager":
        return Choice("eager", who)
    if name == "auto" and foreach is not None:
        return Choice("eager", f"foreach={foreach} asked for")
    if name == "auto" and torch.compiler.is_compiling():
        return Choice("eager", "torch.compile traces torch operations")
    obstacle = native.obstacle(tensors, homes, real)
    if name == "native":
        if obstacle is not None:
            shape = tuple(tensors["p"].shape)
            raise EngineUnavailable(
                f"engine='native' ({who}) cannot update a parameter of shape {shape}: {obstacle}; engine='auto' leaves "
                "such parameters to the eager engine"
            )
        return Choice("native", who)
    if obstacle is None and _Native.failure is not None:
        obstacle = _Native.failure
    return Choice("eager", obstacle) if obstacle is not None else Choice("native", "the fastest on a CPU")


class _Native:
    """Why the native engine is out of use in this process, if it is."""

    failure: str | None = None


def settle(bucket: Bucket, engine: str, elements: int) -> None:
    """Have the bucket's engine prepare what it needs, or hand the bucket to the eager one.

    Args:
        bucket: what is to be run.
        engine: the engine asked for, or ``"auto"``.
        elements: how many there are in all buckets of the step together.

    Raises:
        EngineUnavailable: the engine that was asked for cannot run it.
    """
    if bucket.engine != "native":
        return
    asked = asked_for(engine)[0] == "native"
    written = [x for name in bucket.graph.outputs for x in bucket.buffers[name]]
    if memory.overlap(written) or not _apart(bucket, written):
        reason = "parameters, gradients or states share memory"
        if asked:
            raise EngineUnavailable(f"engine='native' cannot update these parameters: {reason}; use engine='eager'")
        _hand_over(bucket, reason)
    elif elements < TINY and not asked:
        _hand_over(bucket, f"{elements} elements are too few to compile for")
    else:
        _compile(bucket, asked=asked)


def _compile(bucket: Bucket, *, asked: bool) -> None:
    try:
        native.prepare(bucket)
    except native.CompilerError as error:
        if asked:
            raise EngineUnavailable(
                f"engine='native': {error}. Set CC to a working C compiler, or use engine='eager'"
            ) from error
        _Native.failure = str(error)
        logger.warning("update rules run by the eager engine, which is slower: %s", error)
        _hand_over(bucket, str(error))


def _hand_over(bucket: Bucket, reason: str) -> None:
    bucket.engine, bucket.reason = "eager", reason


def _apart(bucket: Bucket, written: Sequence[Tensor]) -> bool:
    """Whether no parameter's input is another one's output (its own may be: it is read first)."""
    owner = {x.data_ptr(): i % len(bucket.buffers["p"]) for i, x in enumerate(written)}
    read = [name for name in bucket.buffers if name not in bucket.graph.outputs]
    pairs = ((i, x) for name in read for i, x in enumerate(bucket.buffers[name]))
    return all(owner.get(x.data_ptr(), i) == i for i, x in pairs)
