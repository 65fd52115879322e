"""Methods by name: the functions of ``optim_core`` that look methods up in the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from optim_core.catalog import licenses
from optim_core.catalog.installed import Entry
from optim_core.catalog.kinds import KINDS, Kind
from optim_core.catalog.needs import Need
from optim_core.catalog.preferences import set_preferences
from optim_core.catalog.registry import load_class, matches_pattern, registry
from optim_core.catalog.specs import KindName, Spec
from optim_core.catalog.targets import import_target
from optim_core.errors import InvalidOption, PackBroken, UnknownName
from optim_core.torch_names import is_torch, torch_class, torch_hint

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


def get(name: str) -> type[Optimizer]:
    """The class of an optimizer.

    Args:
        name: compared without case, ``-``, ``_``, ``.`` and spaces; ``pack:name`` is the full form, and
            ``torch:NAME`` one of torch's own classes.

    Raises:
        UnresolvedName: UnknownName, AmbiguousName, WrongKind, PackNotInstalled, PackDisabled or PackBroken; the text
            says what to do.
        LicenseNotAllowed: the licence policy does not permit it.

    Warns:
        NonCommercialWarning: its licence rules out commercial use; once per process.

    Example:
        >>> get("torch:asgd").__name__
        'ASGD'
    """
    return cast("type[Optimizer]", _class(name, "optimizer"))


def get_scheduler(name: str) -> type[LRScheduler]:
    """The class of a scheduler; names and errors as for :func:`get`.

    It is called as ``scheduler(optimizer, **options)`` and sets the lr of every parameter group, or another option: any
    real number of the groups, by the name that :func:`optim_core.schedules.option_of` knows it by. Several may act on
    one optimizer, each stepped and saved by itself.

    Example:
        >>> import torch
        >>> step = get_scheduler("torch:step-lr")
        >>> step.__name__
        'StepLR'
        >>> adam = torch.optim.AdamW([torch.zeros(1)], weight_decay=0.1)
        >>> decay, beta = step(adam, 10, option="weight_decay"), step(adam, 20, option="beta2")
    """
    from optim_core.schedules import driving

    return driving(cast("type[LRScheduler]", _class(name, "scheduler")))


def get_wrapper(name: str) -> Callable[..., Optimizer]:
    """The class (or function) of a wrapper; names and errors as for :func:`get`.

    It is called as ``wrapper(optimizer, **options)``.

    Example:
        >>> optimizer = get_wrapper("lookahead")(optimizer, k=5)  # doctest: +SKIP
    """
    return cast("Callable[..., Optimizer]", _class(name, "wrapper"))


def load_optimizer(optimizer: str) -> type[Optimizer]:
    """The same as :func:`get`, under the name that pytorch-optimizer gives it."""
    return get(optimizer)


def get_supported_optimizers(filters: str | Sequence[str] | None = None) -> list[str]:
    """The names of all installed optimizers, sorted.

    Args:
        filters: patterns such as ``"adam*"``; a name that matches one of them is listed. None for all.
    """
    return _supported("optimizer", filters)


def get_supported_lr_schedulers(filters: str | Sequence[str] | None = None) -> list[str]:
    """The names of all installed learning-rate schedulers; ``filters`` as for :func:`get_supported_optimizers`."""
    return _supported("scheduler", filters)


def info(name: str, kind: KindName | None = None) -> Spec:
    """The spec of a method: paper, licence, needs, state. The method is not imported.

    Args:
        name: as for :func:`get`.
        kind: ``"optimizer"``, ``"scheduler"`` or ``"wrapper"``, if it should be one.

    Raises:
        UnresolvedName: as for :func:`get`.
    """
    return registry().spec(name, kind)


def prefer(*full_names: str) -> None:
    """Say which method is meant where several packs claim a name; ``prefer()`` without arguments takes that back.

    It decides about names that would raise AmbiguousName, and about nothing else. ``OPTIM_CORE_PREFER`` does the same
    in the environment (comma-separated); what is set here comes first.

    Args:
        full_names: of the methods, ``pack:name``, the strongest preference first.

    Raises:
        UnresolvedName: there is no such method.
        InvalidOption: one is not of the form ``pack:name``.

    Example:
        >>> prefer("acme:lion")  # doctest: +SKIP
        >>> prefer()
    """
    for full_name in full_names:
        if not full_name.rpartition(":")[0] or is_torch(full_name):
            raise InvalidOption(f"{full_name!r} is not the name of a method in a pack: write pack:name")
        registry().entry(full_name)
    set_preferences(full_names)


def find(
    pattern: str = "*",
    *,
    pack: str | None = None,
    license: str | None = None,  # noqa: A002 - what it is called everywhere
    needs: Need | Sequence[Need] = (),
    kind: KindName | None = None,
) -> list[Spec]:
    """The specs of all installed methods that meet every condition. The methods are not imported.

    Args:
        pattern: for the name or an alias, such as ``"adam*"``; case, ``-``, ``_``, ``.`` and spaces do not count.
        pack: the name of a pack.
        license: an SPDX identifier, or ``"noncommercial"``: methods whose use means accepting such a licence.
        needs: a key of :data:`optim_core.catalog.NEEDS`, or several, all of which the method needs.
        kind: ``"optimizer"``, ``"scheduler"`` or ``"wrapper"``.

    Raises:
        InvalidOption: a need or the kind does not exist.
        UnresolvedName: the pack is unknown, not installed, broken or switched off.

    Example:
        >>> [spec.name for spec in find("adam*", license="noncommercial")]
        []
    """
    return [e.spec for e in registry().find(pattern, pack=pack, license=license, needs=needs, kind=kind)]


def _supported(kind: KindName, filters: str | Sequence[str] | None) -> list[str]:
    patterns = (filters,) if isinstance(filters, str) else ("*",) if filters is None else filters
    return [name for name in registry().names(kind) if any(matches_pattern(name, pattern) for pattern in patterns)]


def _class(name: str, kind: KindName) -> Any:
    if is_torch(name):
        return torch_class(name, KINDS[kind])
    try:
        entry = registry().entry(name, kind)
    except UnknownName as unknown:
        raise UnknownName(f"{unknown}{torch_hint(name, KINDS[kind])}") from None
    licenses.check(entry.spec, entry.pack.label)
    return class_of(entry)


def class_of(entry: Entry) -> Any:
    """What users call to build a method, whatever a licence policy says of it.

    Raises:
        PackBroken: it cannot be loaded, or is of another kind than its spec says.
    """
    cls, kind = load_class(entry.spec), KINDS[entry.spec.kind]
    if kind.name == "wrapper":
        from optim_core.wrapping.plain import constructor_of

        cls = constructor_of(entry.spec, cls)
    if not _is_of_kind(cls, kind):
        raise PackBroken(
            f"{entry.full_name!r}: {entry.spec.target} is not {kind.phrase}. Report it to the authors of {entry.pack}"
        )
    return cls


def _is_of_kind(cls: object, kind: Kind) -> bool:
    if not kind.base:
        return callable(cls)
    return isinstance(cls, type) and issubclass(cls, import_target(kind.base))
