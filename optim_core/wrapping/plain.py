"""Plain classes as wrappers: whatever a pack's class takes first, it is called as ``wrapper(optimizer, **options)``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch.optim.optimizer import Optimizer

from optim_core.catalog.specs import Spec, TransformSpec, WrapperSpec
from optim_core.wrapping.conflicts import check_base
from optim_core.wrapping.transform_wrapper import wrapper_of


def constructor_of(spec: Spec, cls: Any) -> Any:
    """What users call to build a method: its class, or a function that calls a class of another form.

    Args:
        spec: of the method.
        cls: what its target names.
    """
    if isinstance(spec, TransformSpec):
        return wrapper_of(cls)
    return _around(cls) if isinstance(spec, WrapperSpec) and spec.base == "params_and_class" else cls


def _around(cls: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """A function of the optimizer, for a class that takes parameters and the class of its base."""
    _, _, *options = inspect.signature(cls).parameters.values()

    @functools.wraps(cls, updated=())
    def wrapper(optimizer: Optimizer, **options: Any) -> Optimizer:
        check_base(optimizer, cls.__name__)
        # the groups are the optimizer's own dicts, so that schedulers of either change both
        return cls(optimizer.param_groups, lambda *_, **__: optimizer, **options)

    base = inspect.Parameter("optimizer", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Optimizer)
    by_name = [
        q if q.kind is q.VAR_KEYWORD else q.replace(kind=q.KEYWORD_ONLY)
        for q in options
        if q.kind is not q.VAR_POSITIONAL
    ]
    vars(wrapper)["__signature__"] = inspect.Signature([base, *by_name])
    return wrapper
