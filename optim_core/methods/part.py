"""Part: a rule around a rule, at its place: in a wrapper, or in a method that is composed of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from torch import Tensor

from optim_core.catalog.registry import load_class, registry
from optim_core.errors import RuleError
from optim_core.methods import states
from optim_core.methods.declarations import Group, Hyper, State
from optim_core.methods.method import Adopted, Method
from optim_core.rules.compose import Buffer
from optim_core.rules.enclosing import Enclosing


class Declares(Protocol):
    """A class with declarations: a wrapper that is a rule around a rule."""

    method: ClassVar[Method]


@dataclass(frozen=True)
class Part(Enclosing):
    """A rule around a rule, with the options that are in force for it.

    Attributes:
        owner: the class with its declarations.
        constants: options that have their values here, by name.
        names: pairs: other names that its rule takes, and what they are called among the options of the method.
        numbers: options that have another value in each step, which its wrapper says.
    """

    owner: type[Declares]
    constants: tuple[tuple[str, Any], ...]
    names: tuple[tuple[str, str], ...]
    numbers: tuple[str, ...] = ()  # type: ignore[misc]  # of each part

    @property
    def method(self) -> Method:
        """Its declarations."""
        return self.owner.method

    def keywords(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the rule."""
        own = self.options_in(options)
        return {name: own[name] for name in self.method.keywords}

    def options_in(self, group: Group) -> dict[str, Any]:
        """Its options by its own names, with a group of the method in force."""
        return {
            **dict(self.constants),
            **{mine: group.get(name) for mine, name in self.names},
            **{name: group.get(name) for name in self.numbers},
        }

    def buffers(self, options: Mapping[str, Any], shape: tuple[int, ...]) -> Sequence[Buffer]:
        """What stands behind each of its states."""
        return self.method.buffers(self.options_in(options), shape, frozenset())

    def begin(self, kept: MutableMapping[str, Any], prefix: str, p: Tensor, *, afresh: bool) -> None:
        """Create those states that a wrapper keeps and that are not there.

        Args:
            kept: where they stand.
            prefix: what their names begin with.
            p: the parameter.
            afresh: what begins as the parameter's value does so again.
        """
        states.begin_kept(kept, prefix, self.method.states, p, dict(self.constants), afresh=afresh)


def part_of(
    owner: type[Declares],
    *,
    apart: bool,
    constants: Mapping[str, Any],
    names: Mapping[str, str],
    numbers: Sequence[str] = (),
) -> Part:
    """A part with these declarations.

    Raises:
        RuleError: there is no rule.
    """
    method = owner.method
    if method.rule is None:
        raise RuleError(f"{method.name} has no rule: write `@staticmethod def rule(p, g, inner, ...)`")
    constants = {name: value for name, value in constants.items() if name not in numbers}
    return Part(method.rule, apart, owner, tuple(constants.items()), tuple(names.items()), tuple(numbers))


@dataclass(frozen=True)
class Around:
    """What a method puts around its rule: see :func:`around`."""

    wrapper: str | type[Declares]
    names: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def adopted(self, owner: str) -> Adopted:
        """What the method takes over.

        Args:
            owner: its name, for messages.

        Raises:
            UnresolvedName: the wrapper is in a pack that is not installed.
            RuleError: the wrapper is no rule around a rule, or has no such option.
        """
        declares = self._declares(owner)
        method = declares.method
        for name in (*self.names, *self.fixed):
            if name not in method.hypers:
                raise RuleError(f"{owner}: {method.name} has no option {name!r}; it takes {', '.join(method.hypers)}")
        fixed = method.check_options(self.fixed)
        called = {name: self.names.get(name, name) for name in method.hypers if name not in fixed}
        hypers = {theirs: replace(method.hypers[mine], name=theirs) for mine, theirs in called.items()}
        others = {name: name for name in method.keywords if name not in method.hypers}
        part = part_of(declares, apart=False, constants=fixed, names={**called, **others})
        own = {name: _as_of_method(x, part, owner) for name, x in method.states.items() if not _never(x, method, fixed)}
        return Adopted(hypers, own, (part,))

    def _declares(self, owner: str) -> type[Declares]:
        wrapper = self.wrapper
        if isinstance(wrapper, str):
            wrapper = load_class(registry().entry(wrapper, "wrapper").spec)
        if not hasattr(wrapper, "of_base"):
            raise RuleError(f"{owner}: {self.wrapper!r} is not a RuleWrapper, whose rule goes around another")
        return wrapper


def around(wrapper: str | type[Any], names: Mapping[str, str] | None = None, /, **fixed: Any) -> Around:
    """Name a rule that a method puts around its own, in ``around = (...)`` in the body of its class.

    Its options and states become the method's.

    Args:
        wrapper: a :class:`~optim_core.wrapping.RuleWrapper`, or its name.
        names: what its options are called here, if otherwise.
        fixed: options that have a value here, and are not the user's to set.

    Example:
        >>> around("grokfast", {"alpha": "grokfast_alpha"}, filter="ema").fixed
        {'filter': 'ema'}
    """
    return Around(wrapper, names or {}, fixed)


def adopt(arounds: Sequence[Around], owner: str) -> Adopted:
    """All that a method takes over from the rules around its own, the outermost first.

    Raises:
        RuleError: two of them have a name in common.
    """
    hypers: dict[str, Hyper] = {}
    own: dict[str, State] = {}
    parts: list[Enclosing] = []
    for each in arounds:
        adopted = each.adopted(owner)
        for name in (*(hypers.keys() & adopted.hypers.keys()), *(own.keys() & adopted.states.keys())):
            raise RuleError(f"{owner}: two of the rules around its own have {name!r}: name one of them otherwise")
        hypers |= adopted.hypers
        own |= adopted.states
        parts += adopted.parts
    return Adopted(hypers, own, tuple(parts))


def _never(declared: State, method: Method, fixed: Group) -> bool:
    """Return True if no parameter has a state, whatever the options that are not fixed."""
    switches = [name for name, x in method.hypers.items() if isinstance(x.default, bool) and name not in fixed]
    defaults = {name: x.default for name, x in method.hypers.items()}
    settings = [{**defaults, **fixed, **dict.fromkeys(switches, on)} for on in (False, True)]
    return declared.copies is not None and not any(map(declared.present, settings))


def _as_of_method(declared: State, part: Part, owner: str) -> State:
    """A part's state as the method declares it: what it says of options goes by the method's names."""
    names, constants = dict(part.names), dict(part.constants)

    def called(option: str | None) -> str | None:
        if option in constants:
            raise RuleError(f"{owner}: the state {declared.name!r} goes by {option!r}, which cannot be fixed")
        return names.get(option, option) if option is not None else None

    start = declared.start
    if isinstance(start, str) and start != "p":
        start = constants[start] if start in constants else names[start]
    present: Callable[[Group], bool] = lambda group: declared.present(part.options_in(group))  # noqa: E731
    return replace(
        declared,
        start=start,
        when=None if declared.when is None else present,
        every=called(declared.every),
        copies=called(declared.copies),
    )
