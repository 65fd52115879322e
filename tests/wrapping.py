"""Which wrappers can be put around any optimizer without more ado."""

from __future__ import annotations

import inspect
from typing import Any

import optim_core


def needs_only_a_base(wrapper: Any) -> bool:
    """Whether the constructor has defaults for everything but the base."""
    return all(
        parameter.default is not parameter.empty
        for name, parameter in inspect.signature(wrapper).parameters.items()
        if name != "base"
    )


def specs() -> list[Any]:
    """The specs of all wrappers that need only a base."""
    return [spec for spec in optim_core.find(kind="wrapper") if needs_only_a_base(optim_core.get_wrapper(spec.name))]
