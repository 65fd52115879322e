"""The kinds of method: one record per kind, from which everything that differs between kinds follows.

A new kind is a spec class, its record here, and its hook in :mod:`optim_core.catalog.hookspecs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optim_core.catalog.specs import KindName, OptimizerSpec, SchedulerSpec, Spec, WrapperSpec


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of method.

    Attributes:
        spec: the class of its specs.
        phrase: its name with the article, for messages.
        hook: the function in a pack's manifest that returns its specs.
        getter: the function of ``optim_core`` that returns a class of this kind.
        base: the class that all its classes derive from, as ``"module:Class"``; empty if any callable will do.
        torch_module: the module of torch's own classes of this kind (``torch:NAME``); empty if torch has none.
    """

    spec: type[Spec]
    phrase: str
    hook: str
    getter: str
    base: str = ""
    torch_module: str = ""

    @property
    def name(self) -> KindName:
        """The name under which specs, commands and functions know it."""
        return self.spec.kind

    @property
    def plural(self) -> str:
        """The name of several of them, for headings and messages."""
        return f"{self.name}s"


#: Every kind by its name, in the order in which listings show them.
KINDS: Mapping[KindName, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            spec=OptimizerSpec,
            phrase="an optimizer",
            hook="optim_core_optimizers",
            getter="get",
            base="torch.optim:Optimizer",
            torch_module="torch.optim",
        ),
        Kind(
            spec=SchedulerSpec,
            phrase="a scheduler",
            hook="optim_core_schedulers",
            getter="get_scheduler",
            base="torch.optim.lr_scheduler:LRScheduler",
            torch_module="torch.optim.lr_scheduler",
        ),
        Kind(
            spec=WrapperSpec,
            phrase="a wrapper",
            hook="optim_core_wrappers",
            getter="get_wrapper",
        ),
    )
}


def getter_call(spec: Spec) -> str:
    """The call that returns a method's class, for messages and examples.

    Example:
        >>> getter_call(OptimizerSpec(name="lion", target="acme.lion:Lion", summary="Sign.", license="MIT"))
        "get('lion')"
    """
    return f"{KINDS[spec.kind].getter}({spec.name!r})"
