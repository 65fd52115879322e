"""Which engine runs a bucket, and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optim_core.engines import layout as memory
from optim_core.engines import native, triton
from optim_core.engines.bucket import Bucket, Run
from optim_core.errors import EngineUnavailable, InvalidOption
from optim_core.rules.graph import Extent

logger = logging.getLogger("optim_core")

#: Elements of all parameters below which code of its own does not pay: the eager engine has done before it is loaded.
TINY = 1 << 12


@dataclass
class Compiled:
    """An engine that compiles code of its own.

    Attributes:
        name: what it is asked for by.
        device: the kind of device whose tensors it gets where none is asked for.
        virtue: why it gets them.
        obstacle: why it does not take a parameter, given its buffers, their homes and the type to compute in; or None.
        prepare: has everything compiled that a bucket's next step runs; raises ``error``.
        error: what that raises.
        remedy: what helps then.
        start: puts a bucket on its way through a step, given the states on level WHOLE.
        failure: why it is out of use in this process, if it is.
    """

    name: str
    device: str
    virtue: str
    obstacle: Callable[[Mapping[str, Tensor], Mapping[str, Extent], torch.dtype], str | None]
    prepare: Callable[[Bucket], None]
    error: type[Exception]
    remedy: str
    start: Callable[[Bucket, Mapping[str, Tensor]], Run]
    failure: str | None = None


COMPILED = {
    engine.name: engine
    for engine in (
        Compiled(
            name="native",
            device="cpu",
            virtue="the fastest on a CPU",
            obstacle=native.obstacle,
            prepare=native.prepare,
            error=native.CompilerError,
            remedy="Set CC to a working C compiler",
            start=native.NativeRun,
        ),
        Compiled(
            name="triton",
            device="cuda",
            virtue="one kernel for all tensors on a GPU",
            obstacle=triton.obstacle,
            prepare=triton.prepare,
            error=triton.TritonError,
            remedy="See whether Triton works on this machine at all",
            start=triton.TritonRun,
        ),
    )
}
ENGINES = ("auto", "eager", *COMPILED)


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
    engine: str, foreach: bool | None, tensors: Mapping[str, Tensor], homes: Mapping[str, Extent], real: torch.dtype
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
    if name == "auto":
        return _automatic(foreach, tensors, homes, real)
    obstacle = COMPILED[name].obstacle(tensors, homes, real)
    if obstacle is not None:
        shape = tuple(tensors["p"].shape)
        raise EngineUnavailable(
            f"engine={name!r} ({who}) cannot update a parameter of shape {shape}: {obstacle}; engine='auto' leaves "
            "such parameters to another engine"
        )
    return Choice(name, who)


def _automatic(
    foreach: bool | None, tensors: Mapping[str, Tensor], homes: Mapping[str, Extent], real: torch.dtype
) -> Choice:
    if foreach is not None:
        return Choice("eager", f"foreach={foreach} asked for")
    if torch.compiler.is_compiling():
        return Choice("eager", "torch.compile traces torch operations")
    device = tensors["p"].device
    compiled = next((c for c in COMPILED.values() if c.device == device.type), None)
    if compiled is None:
        return Choice("eager", f"it is on {device}")
    obstacle = compiled.obstacle(tensors, homes, real) or compiled.failure
    return Choice(compiled.name, compiled.virtue) if obstacle is None else Choice("eager", obstacle)


def settle(bucket: Bucket, engine: str, elements: int) -> None:
    """Have the bucket's engine prepare what it needs, or hand the bucket to the eager one.

    Args:
        bucket: what is to be run.
        engine: the engine asked for, or ``"auto"``.
        elements: how many there are in all buckets of the step together.

    Raises:
        EngineUnavailable: the engine that was asked for cannot run it.
    """
    compiled = COMPILED.get(bucket.engine)
    if compiled is None:
        return
    asked = asked_for(engine)[0] == compiled.name
    written = [x for name in bucket.graph.outputs for x in bucket.buffers[name]]
    if memory.overlap(written) or not _apart(bucket, written):
        reason = "parameters, gradients or states share memory"
        if asked:
            raise EngineUnavailable(
                f"engine={compiled.name!r} cannot update these parameters: {reason}; use engine='eager'"
            )
        _hand_over(bucket, reason)
    elif elements < TINY and not asked:
        _hand_over(bucket, f"{elements} elements are too few to compile for")
    else:
        _compile(bucket, compiled, asked=asked)


def _compile(bucket: Bucket, compiled: Compiled, *, asked: bool) -> None:
    try:
        compiled.prepare(bucket)
    except compiled.error as error:
        if asked:
            raise EngineUnavailable(
                f"engine={compiled.name!r}: {error}. {compiled.remedy}, or use engine='eager'"
            ) from error
        compiled.failure = str(error)
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
