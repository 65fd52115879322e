"""Building any registered wrapper around any base, whatever it asks for."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import optim_core
from optim_core.catalog.specs import Spec
from optim_core.errors import NotOffered, WrapperConflict
from optim_core.wrapping import Wrapper
from support import methods


def required_options(cls: Any) -> dict[str, Any]:
    """A wrapper may want one of several options, each None by default: all of them, at the middle of their range."""
    found = {name: h.search for name, h in cls.hypers.items() if h.default is None and h.search}
    return {name: math.sqrt(low * high) for name, (low, high) in found.items()}


def option_variants(cls: Any) -> Iterator[dict[str, Any]]:
    """Its options: as needed, one of those alone, and each switch and choice otherwise than by default."""
    usual = required_options(cls)
    yield usual
    if len(usual) > 1:
        yield from ({name: value} for name, value in usual.items())
    for name, h in cls.hypers.items():
        if isinstance(h.default, bool):
            yield {**usual, name: not h.default}
        for choice in h.choices or ():
            if choice != h.default:
                yield {**usual, name: choice}


def around(base: Any, name: str, *, within: Any = None, **options: Any) -> Any:
    """The wrapper around the base, which does without a weight decay of its own if it has to.

    ``within`` is the model, for wrappers that take one or a part of it. A test is skipped for a base that has not what
    the wrapper acts on; which bases that are is tested in test_offers.
    """
    cls: Any = optim_core.get_wrapper(name)
    if takes_more_than_a_model(cls):
        pytest.skip(f"{name} takes {', '.join(cls.arguments)}, which no model tells: it has tests of its own")
    options = (options or required_options(cls)) | ({} if within is None else cls.arguments_of(within))
    try:
        return cls(base, **options)
    except NotOffered as conflict:
        pytest.skip(str(conflict))
    except WrapperConflict as conflict:
        if getattr(base, "releases", False):  # nothing can act on all gradients together
            pytest.skip(str(conflict))
        if "weight_decay=0" not in str(conflict):
            raise
    for group in base.param_groups:
        group["weight_decay"] = 0.0
    return around(base, name, **options)


def torch_base(name: str) -> type[torch.optim.Optimizer]:
    """An optimizer of torch that the wrapper goes around: SGD, unless it acts on something that SGD has not.

    A test is skipped for a wrapper that goes around rules only.
    """
    for cls in (torch.optim.SGD, torch.optim.Adam):
        base = cls([("weight", torch.nn.Parameter(torch.zeros(1)))], lr=0.1)
        with contextlib.suppress(NotOffered):
            optim_core.get_wrapper(name)(base, **required_options(optim_core.get_wrapper(name)))
            return cls
    pytest.skip(f"{name} takes neither SGD nor Adam of torch")


def takes_more_than_a_model(cls: Any) -> bool:
    """Whether a wrapper asks for something that neither has a default nor follows from a model."""
    asked = set(getattr(cls, "arguments", ())) - set(getattr(cls, "argument_defaults", ())) - {"model"}
    return bool(asked) and cls.arguments_of.__func__ is Wrapper.arguments_of.__func__  # type: ignore[attr-defined]


def needs_only_a_base(wrapper: Any) -> bool:
    """Whether any base will do, and the constructor has defaults for everything else."""
    return not getattr(wrapper, "needs_rule", False) and all(
        parameter.default is not parameter.empty
        for name, parameter in inspect.signature(wrapper).parameters.items()
        if name != "base"
    )


@functools.cache
def base_only_specs() -> list[Spec]:
    """The specs of all wrappers that need only a base."""
    return [spec for spec in methods.wrappers() if needs_only_a_base(optim_core.get_wrapper(spec.name))]
