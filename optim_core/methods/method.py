"""A method as its class declares it: options, states, extra inputs, and what its rule asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optim_core.errors import InvalidOption, RuleError, UnknownOption, UnsupportedParameter
from optim_core.habits import option_hint
from optim_core.methods.declarations import REQUIRED, Extra, Group, Hyper, State, named
from optim_core.methods.states import ROUNDING_STATES, layout_of
from optim_core.names import nearest
from optim_core.rules.compose import Buffer, CompositionSettings, compose
from optim_core.rules.enclosing import Enclosing
from optim_core.rules.graph import Graph
from optim_core.rules.options import GIVEN, scalars, split
from optim_core.rules.rounding import Rounding
from optim_core.rules.trace import Trace
from optim_core.rules.transform import Transform
from optim_core.rules.values import Level


@dataclass(frozen=True, eq=False)
class Method:
    """A method as far as it is known before it sees a parameter.

    Attributes:
        name: the class's name.
        hypers, states, extras: the declarations, by name.
        rule: the rule, or None.
        positions: names of the states and extras that the rule takes after p and g.
        keywords: names of the options and given numbers that it takes.
        parts: rules around the rule that belong to the method, the outermost first; their states are among ``states``.
        by_group: the name of the option that makes each group a model of its own; "" if there is none.
    """

    name: str
    hypers: Mapping[str, Hyper]
    states: Mapping[str, State]
    extras: Mapping[str, Extra]
    rule: Callable[..., Any] | None
    positions: tuple[str, ...]
    keywords: tuple[str, ...]
    parts: tuple[Enclosing, ...] = ()
    by_group: str = ""

    @cached_property
    def whole_states(self) -> dict[str, State]:
        """The states that belong to the whole model."""
        return {n: s for n, s in self.states.items() if s.level is Level.WHOLE}

    def is_alone(self, group: Group) -> bool:
        """Whether a group is a model of its own: totals and states on level WHOLE are its alone."""
        return bool(self.by_group and group[self.by_group])

    @cached_property
    def parameter_states(self) -> dict[str, State]:
        """The states of single parameters, the method's own and those that rounding needs."""
        return {n: s for n, s in self.states.items() if s.level is not Level.WHOLE} | dict(ROUNDING_STATES)

    @property
    def counts_whole_steps(self) -> bool:
        """True if the method needs to know how many steps the model as a whole has done."""
        return bool(self.whole_states or self.extras or "whole_step" in self.keywords)

    def has_extras(self, groups: Iterable[Group]) -> bool:
        """Return True if the method may compute extra inputs for one of these groups."""
        return any(declared.present(group) for declared in self.extras.values() for group in groups)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options in normal form.

        Raises:
            UnknownOption, InvalidOption: naming the option and the remedy.
        """
        self.check_names(options)
        return {name: self.hypers[name].check(value, self.name) for name, value in options.items()}

    def with_defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options by name: those given, and the defaults of the others.

        Raises:
            InvalidOption: one that has no default is not given.
        """
        for name, declared in self.hypers.items():
            if declared.default is REQUIRED and name not in options:
                raise InvalidOption(f"{self.name} needs {name}, {declared.doc}: {self.name}(..., {name}=...)")
        return {name: declared.default for name, declared in self.hypers.items()} | dict(options)

    def check_names(self, options: Iterable[str]) -> None:
        """Refuse options that do not exist.

        Raises:
            UnknownOption: naming the option and the remedy.
        """
        for name in options:
            if name not in self.hypers:
                raise UnknownOption(self._unknown_option(name))

    def check_group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a parameter group in normal form; other entries are left alone unless misspelt.

        Raises:
            UnknownOption: an entry looks like a misspelt option.
            InvalidOption: an option is of the wrong type or out of range.
        """
        for name in group:
            known = {*self.hypers, *self.whole_states} | _GROUP_ENTRIES
            if name not in known and not name.startswith(KEPT_OF_OPTIONS) and nearest(name, self.hypers):
                raise UnknownOption(f"in a parameter group: {self._unknown_option(name)}")
        return {name: hyper.check(group[name], self.name) for name, hyper in self.hypers.items() if name in group}

    def check_common(self, group: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Refuse a group with a value of its own where all groups must agree.

        Raises:
            InvalidOption: naming the option.
        """
        for name, hyper in self.hypers.items():
            if hyper.common and group.get(name, defaults[name]) != defaults[name]:
                raise InvalidOption(
                    f"{self.name}: {name}={group[name]!r} in a group, {defaults[name]!r} elsewhere, but {name} "
                    f"({hyper.doc}) acts on the model as a whole: give it to the constructor, not to a group"
                )

    def trace(
        self,
        options: Group,
        shape: Sequence[int],
        transforms: tuple[Transform, ...] = (),
        *,
        extras: frozenset[str] = frozenset(),
        rounds: bool = False,
    ) -> Graph:
        """Trace the rule, with all that is composed with it, for a parameter of a shape.

        Args:
            options: the group's options and the given numbers, by name.
            shape: the parameter's.
            transforms: what is composed with the rule.
            extras: the extra inputs at hand.
            rounds: True for a bfloat16 parameter.

        Returns:
            The rule's graph.

        Raises:
            RuleError: the rule does not make sense, such as one that decays p where the core does so, too.
            UnsupportedParameter: the parameter is complex, and the rule does what is for real ones.
        """
        self._check_decay()
        if self.rule is None:
            raise RuleError(
                f"{self.name} has no rule: write `@staticmethod def rule(p, g, {', '.join([*self.states, '*'])}, lr)`, "
                "which returns the new p and the new states"
            )
        trace = Trace(split(options)[0], shape)
        around = (*transforms, *self.parts)
        enclosing = {i: t.buffers(options, tuple(shape)) for i, t in enumerate(around) if isinstance(t, Enclosing)}
        try:
            return compose(
                self.rule,
                trace,
                self.buffers(options, tuple(shape), extras),
                scalars(options, trace),
                self.keywords,
                self.composition_settings(options, around, rounds=rounds),
                enclosing,
            )
        except UnsupportedParameter as error:
            raise UnsupportedParameter(f"{self.name}: {error}") from None

    def _check_decay(self) -> None:
        weight_decay = self.hypers.get("weight_decay")
        if weight_decay is not None and weight_decay.decay and "weight_decay" in self.keywords:
            raise RuleError(
                f"{self.name}: p would decay twice: the core applies weight_decay = {weight_decay.decay}(...), and the "
                "rule takes weight_decay, too. Leave it out of the rule, or declare it with hyper(...)"
            )

    def _unknown_option(self, name: str) -> str:
        """The message for an option that does not exist."""
        meant = {option: option for option in self.hypers}
        meant |= {other: option for other, option in _ELSEWHERE.items() if option in self.hypers}
        near = dict.fromkeys(meant[word] for word in nearest(name, meant))
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return f"{self.name} has no option {name!r}.{option_hint(name) or hint} It takes: {', '.join(self.hypers)}"

    def composition_settings(
        self, group: Group, transforms: tuple[Transform, ...], *, rounds: bool = False
    ) -> CompositionSettings:
        """Return what the composition needs of a group's options; ``rounds`` is True for bfloat16 parameters."""
        weight_decay = self.hypers.get("weight_decay")
        decay = weight_decay.decay if weight_decay else None
        if decay and "decoupled_weight_decay" in self.hypers:
            decay = "decoupled" if group["decoupled_weight_decay"] else "l2"
        rounding: Rounding = group["rounding"] if rounds else "nearest"
        return CompositionSettings(
            decay, bool(group.get("fixed_decay", False)), bool(group["maximize"]), transforms, rounding
        )

    def check_rounding(self, group: Group, params: Sequence[Tensor]) -> None:
        """Refuse a way of rounding that is unavailable for some parameters.

        Raises:
            InvalidOption: with the remedy.
        """
        way = group["rounding"]
        if way != "nearest" and any(p.dtype is torch.float16 for p in params):
            raise InvalidOption(
                f"{self.name}: rounding={way!r} is for bfloat16 parameters, not for float16: put those into a group "
                "with rounding='nearest'"
            )

    def shaped_state_levels(self, group: Group, shape: tuple[int, ...]) -> tuple[Level | None, ...]:
        """The level on which a parameter of a shape has each state that declares its own shape; None: it lacks it."""
        layouts = [layout_of(declared, shape, group) for declared in self.states.values() if declared.shape is not None]
        return tuple(None if layout is None else layout.level for layout in layouts)

    def buffers(self, group: Group, shape: tuple[int, ...], available: frozenset[str]) -> list[Buffer]:
        """Return what stands behind each position of the rule.

        Args:
            group: the options.
            shape: the parameter's, or that of another one with the same :meth:`shaped_state_levels`.
            available: the extras at hand in this step.
        """
        return [self._buffer(name, group, shape, available) for name in self.positions]

    def _buffer(self, name: str, group: Group, shape: tuple[int, ...], available: frozenset[str]) -> Buffer:
        declared = self.states.get(name)
        if declared is None:
            return Buffer(name, Level.ELEMENT, written=False, present=name in available)
        layout = layout_of(declared, shape, group)
        if layout is None:
            return Buffer(name, Level.ELEMENT, written=True, present=False)
        return Buffer(name, layout.level, written=True, every=layout.every, copies=layout.copies)


#: What groups hold of torch's schedulers and of the factory: it goes with the options.
SET_UP = frozenset({"why", "name", "initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum"})
#: How the names begin under which a schedule of another option than lr keeps what it starts from.
KEPT_OF_OPTIONS = ("initial_", "highest_", "lowest_")
#: All that they hold beside options.
_GROUP_ENTRIES = SET_UP | {"params", "param_names", "layers", "whole_step", "draw_seed", "draws"}
#: What options are called in other libraries.
_ELSEWHERE = {"learning_rate": "lr", "epsilon": "eps", "wd": "weight_decay", "weight_decay_rate": "weight_decay"}
#: Names that mean something else already.
_RESERVED = frozenset({"p", "g", "new_p", "gradient", "params", "param_names", "engine", "foreach", *GIVEN})


class Adopted(NamedTuple):
    """What a class takes over from rules that it puts around its own: their options and states, by its names."""

    hypers: Mapping[str, Hyper]
    states: Mapping[str, State]
    parts: tuple[Enclosing, ...]


NOTHING_ADOPTED = Adopted({}, {}, ())


def read_class(cls: type, inherited: Method | None, adopted: Adopted = NOTHING_ADOPTED) -> Method:
    """Collect a class's declarations, taking them out of its namespace.

    Args:
        cls: the class.
        inherited: its parent's method.
        adopted: what comes with the rules around its rule.

    Raises:
        RuleError: a declaration or the rule's signature does not fit.
    """
    hypers = (dict(inherited.hypers) if inherited else {}) | dict(adopted.hypers)
    states = (dict(inherited.states) if inherited else {}) | dict(adopted.states)
    extras = dict(inherited.extras) if inherited else {}
    for declared in _declarations(cls, hypers):
        if isinstance(declared, Hyper):
            # an option that is declared anew keeps its place in the signature
            by_name = declared.name in hypers and hypers[declared.name].kw_only
            hypers[declared.name] = replace(declared, kw_only=declared.kw_only or by_name)
        elif isinstance(declared, State):
            states[declared.name] = declared
        else:
            extras[declared.name] = declared
    for declared in states.values():
        _check_state(cls.__name__, declared, hypers)
    rule = getattr(cls, "rule", None)
    positions, keywords = _signature(cls, rule)
    parts = (*adopted.parts, *(inherited.parts if inherited else ()))
    by_group = getattr(cls, "by_group", "")
    method = Method(cls.__name__, hypers, states, extras, rule, positions, keywords, parts, by_group)
    _check_rule(method, _given(cls))
    return method


def _given(cls: Any) -> tuple[str, ...]:
    """What a rule of a class may take by keyword beside options."""
    return (*cls.of_base, *cls.asks_base) if hasattr(cls, "of_base") else tuple(GIVEN)


def _check_rule(method: Method, given: Collection[str]) -> None:
    for name, declared in method.hypers.items():
        if declared.decay and name != "weight_decay":
            raise RuleError(f"{method.name}: {name} = {declared.decay}(...) has no effect: call it weight_decay")
    for name in method.positions:
        if name not in method.states and name not in method.extras:
            raise RuleError(f"{method.name}: the rule takes {name!r}, which is neither a state nor an extra")
    for name in method.keywords:
        if name not in method.hypers and name not in given:
            others = ", ".join(given)
            raise RuleError(f"{method.name}: the rule takes {name!r}, which is neither an option nor one of {others}")


def _declarations(cls: type, inherited: Mapping[str, Hyper]) -> list[Hyper | State | Extra]:
    """Return a class's own declarations with their names, taking them out of its namespace.

    Raises:
        RuleError: one of them does not make sense.
    """
    annotations = inspect.get_annotations(cls, eval_str=True)
    declarations = []
    for name, value in list(vars(cls).items()):
        if value is REQUIRED:
            delattr(cls, name)  # the constructor's argument; it would hide what a host's proxy delegates to instances
            continue
        if not isinstance(value, (Hyper, State, Extra)):
            if name in inherited and not callable(value) and not isinstance(value, (property, classmethod)):
                raise RuleError(
                    f"{cls.__name__}: {name} = {value!r} does not change the option's default: write "
                    f"`{name}: {inherited[name].type_name} = hyper({value!r}, ...)`"
                )
            continue
        if name in _RESERVED:
            raise RuleError(f"{cls.__name__}: {name!r} cannot be declared: a rule takes something else by that name")
        try:
            declarations.append(named(value, name, annotations.get(name)))
        except InvalidOption as error:
            raise RuleError(f"{cls.__name__}: {error}") from error
        # An option may be called like an attribute of torch's Optimizer; the group holds its value.
        delattr(cls, name)
    return declarations


def _check_state(owner: str, declared: State, hypers: Mapping[str, Hyper]) -> None:
    refers = {"every": declared.every, "copies": declared.copies}
    refers |= {"when": declared.when} if isinstance(declared.when, str) else {}
    refers |= {"start": declared.start} if isinstance(declared.start, str) and declared.start != "p" else {}
    for what, option in refers.items():
        if option is not None and option not in hypers:
            raise RuleError(f"{owner}: {declared.name} = state({what}={option!r}) names no option of the method")
    if declared.level is not Level.ELEMENT and (declared.start == "p" or declared.every or declared.shape):
        raise RuleError(f"{owner}: {declared.name}: start='p', every and shape go with level='element'")
    if declared.level is Level.WHOLE and (declared.copies or declared.when):
        raise RuleError(f"{owner}: {declared.name}: there is one state for the whole model, without copies and when")


def _signature(cls: type, rule: Callable[..., Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if rule is None:
        return (), ()
    parameters = inspect.signature(rule).parameters.values()
    swallowing = [str(q) for q in parameters if q.kind in (q.VAR_POSITIONAL, q.VAR_KEYWORD)]
    if swallowing:
        raise RuleError(f"{cls.__name__}: a rule names what it takes, instead of {', '.join(swallowing)}")
    positions = [q.name for q in parameters if q.kind is q.POSITIONAL_OR_KEYWORD]
    start = ["p", "g", *(["inner"] if hasattr(cls, "of_base") else [])]
    if positions[: len(start)] != start:
        raise RuleError(
            f"{cls.__name__}: a rule starts with ({', '.join(start)}, ...), this one with ({', '.join(positions)})"
        )
    return tuple(positions[len(start) :]), tuple(q.name for q in parameters if q.kind is q.KEYWORD_ONLY)
