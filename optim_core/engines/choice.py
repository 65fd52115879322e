"""The choice of the engine that runs a bucket, and the reason for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from optim_core.engines import eager, layout, native, triton
from optim_core.engines.bucket import Bucket
from optim_core.engines.engine import Engine
from optim_core.errors import EngineUnavailable, InvalidOption
from optim_core.rules.graph import Access

logger = logging.getLogger("optim_core")

#: Every engine; eager takes what the others cannot.
ENGINES: tuple[Engine, ...] = (eager.ENGINE, native.ENGINE, triton.ENGINE)
BY_NAME: Mapping[str, Engine] = {engine.name: engine for engine in ENGINES}
#: The values of the option ``engine``.
NAMES = ("auto", *BY_NAME)

#: Elements of all parameters together below which compiled code is not worth loading: torch operations finish sooner.
TINY = 1 << 12


@dataclass(frozen=True)
class Choice:
    """The name of an engine, and why that one."""

    engine: str
    reason: str


def check_request(engine: object, foreach: object, owner: str) -> None:
    """Refuse values of the options ``engine`` and ``foreach`` that no engine can honour.

    Raises:
        InvalidOption: with the values that are possible.
    """
    if engine not in NAMES:
        raise InvalidOption(f"{owner}: engine={engine!r} is not one of {', '.join(map(repr, NAMES))}")
    if foreach not in (None, True, False):
        raise InvalidOption(f"{owner}: foreach={foreach!r} is not one of None, True, False")
    if foreach is not None and engine not in ("auto", eager.ENGINE.name):
        raise InvalidOption(f"{owner}: foreach={foreach!r} is for the eager engine; engine={engine!r} has no such mode")


def _requested(engine: str) -> tuple[str, str]:
    """The name of the engine that an optimizer is to use, and who asks for it.

    Raises:
        InvalidOption: the environment variable names no engine.
    """
    if engine != "auto":
        return engine, "asked for"
    from_environment = os.environ.get("OPTIM_CORE_ENGINE", "auto")
    if from_environment not in NAMES:
        raise InvalidOption(f"OPTIM_CORE_ENGINE={from_environment!r} is not one of {', '.join(map(repr, NAMES))}")
    return from_environment, "OPTIM_CORE_ENGINE"


def choose(
    engine: str,
    foreach: bool | None,
    buffers: Mapping[str, Tensor],
    access: Access,
    compute_dtype: torch.dtype,
) -> Choice:
    """The engine for one parameter.

    Args:
        engine, foreach: the optimizer's own.
        buffers: the parameter's tensors, by buffer name.
        access: how they are gone over.
        compute_dtype: the type to compute in.

    Raises:
        EngineUnavailable: the engine that was asked for cannot update it.
    """
    name, who = _requested(engine)
    if name == "auto":
        return _automatic(foreach, buffers, access, compute_dtype)
    obstacle = BY_NAME[name].obstacle(buffers, access, compute_dtype)
    if obstacle is not None:
        shape = tuple(buffers["p"].shape)
        raise EngineUnavailable(
            f"engine={name!r} ({who}) cannot update a parameter of shape {shape}: {obstacle}; engine='auto' leaves "
            "such parameters to another engine"
        )
    return Choice(name, who)


def _automatic(
    foreach: bool | None, buffers: Mapping[str, Tensor], access: Access, compute_dtype: torch.dtype
) -> Choice:
    if foreach is not None:
        return _eagerly(f"foreach={foreach} asked for")
    if torch.compiler.is_compiling():
        return _eagerly("torch.compile traces torch operations")
    device = buffers["p"].device
    preferred = next((engine for engine in ENGINES if device.type in engine.auto_devices), None)
    if preferred is None:
        return _eagerly(f"it is on {device}")
    obstacle = preferred.obstacle(buffers, access, compute_dtype) or preferred.failure
    return _eagerly(obstacle) if obstacle else Choice(preferred.name, preferred.auto_reason)


def _eagerly(reason: str) -> Choice:
    return Choice(eager.ENGINE.name, reason)


def prepare(bucket: Bucket, engine: str, elements: int) -> Bucket:
    """Compile what the bucket's next step runs, before anything is written.

    Args:
        bucket: what is to be run.
        engine: the engine asked for, or ``"auto"``.
        elements: the number of elements in all buckets of the step.

    Returns:
        The bucket, or one of the same tensors for the eager engine where the bucket's own cannot run it.

    Raises:
        EngineUnavailable: the engine that was asked for cannot run it.
    """
    chosen = BY_NAME[bucket.engine]
    if chosen is eager.ENGINE:
        return bucket
    asked = _requested(engine)[0] == chosen.name
    written = [x for name in bucket.graph.outputs for x in bucket.buffers[name]]
    if layout.overlap(written) or not _apart(bucket, written):
        reason = "parameters, gradients or states share memory"
        if asked:
            raise EngineUnavailable(
                f"engine={chosen.name!r} cannot update these parameters: {reason}; use engine='eager'"
            )
        return _left_to_eager(bucket, reason)
    if elements < TINY and not asked:
        return _left_to_eager(bucket, f"{elements} elements are too few to compile for")
    try:
        chosen.prepare(bucket)
    except chosen.errors as error:
        if asked:
            raise EngineUnavailable(
                f"engine={chosen.name!r}: {error}. {chosen.remedy}, or use engine='eager'"
            ) from error
        chosen.failure = str(error)
        logger.warning("update rules run by the eager engine, which is slower: %s", error)
        return _left_to_eager(bucket, chosen.failure)
    return bucket


def _left_to_eager(bucket: Bucket, reason: str) -> Bucket:
    return replace(bucket, engine=eager.ENGINE.name, reason=reason)


def _apart(bucket: Bucket, written: Sequence[Tensor]) -> bool:
    """True if no parameter's input is another one's output (its own may be: it is read first)."""
    owner = {x.data_ptr(): i % len(bucket.buffers["p"]) for i, x in enumerate(written)}
    read = [name for name in bucket.buffers if name not in bucket.graph.outputs]
    pairs = ((i, x) for name in read for i, x in enumerate(bucket.buffers[name]))
    return all(owner.get(x.data_ptr(), i) == i for i, x in pairs)
