"""from_peer: another library's optimizer as this library has it, option by option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from optim_core.api import find, get, get_wrapper
from optim_core.errors import InvalidOption, NoCounterpart, UnknownOption
from optim_core.methods.declarations import Hyper
from optim_core.names import did_you_mean, normalise
from optim_core.peers.tables import REQUIRED, Peer, Translation, name_of, peer


@dataclass(frozen=True, kw_only=True)
class Counterpart:
    """What an optimizer of another library is here: call it with parameters, or print it to have the line.

    Attributes:
        peer: theirs, such as ``"timm's AdamP"``.
        name: our method.
        options: its options; what is not among them has our default, which is theirs too.
        wrappers: names of wrappers around it, the innermost first.
    """

    peer: str
    name: str
    options: Mapping[str, Any]
    wrappers: tuple[str, ...] = field(default=())

    def __call__(self, params: Any) -> Any:
        """The optimizer, over parameters, groups, names with parameters, or a model."""
        optimizer: Any = get(self.name)(params, **self.options)
        for wrapper in self.wrappers:
            optimizer = get_wrapper(wrapper)(optimizer)
        return optimizer

    def __str__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        line = f"optim_core.get({self.name!r})(params{options})"
        for wrapper in self.wrappers:
            line = f"optim_core.get_wrapper({wrapper!r})({line})"
        return line


def from_peer(library: str, name: str, **options: Any) -> Counterpart:
    """Our counterpart of another library's optimizer, with their options, and their defaults where ours differ.

    Args:
        library: ``"pytorch_optimizer"`` or ``"timm"``.
        name: the class, or the name by which the library makes it.
        options: as their constructor takes them, without parameters or model.

    Returns:
        What builds it: ``from_peer(...)(model.parameters())``. Printed, it is the line to write instead.

    Raises:
        UnknownName: no such library or optimizer is known.
        UnknownOption: theirs has no such option.
        NoCounterpart: an option has a value, given or by default, that nothing here does; it is named.
        InvalidOption: an option that theirs requires is missing, or a value is out of the range that ours has.

    Example:
        >>> print(from_peer("pytorch_optimizer", "Lion", lr=3e-4, weight_decay=0.1))
        optim_core.get('lion')(params, lr=0.0003, weight_decay=0.1)
    """
    theirs = peer(library, name)
    unknown = [option for option in options if option not in theirs.options]
    if unknown:
        raise UnknownOption(
            f"{theirs.label} has no option {unknown[0]!r}.{did_you_mean(unknown[0], theirs.options)} It takes: "
            f"{', '.join(theirs.options)}"
        )
    if theirs.translation.none:
        raise NoCounterpart(f"{theirs.label} has no counterpart here: {theirs.translation.none}")
    return _Translating(theirs, options).counterpart()


class _Translating:
    """One optimizer of a peer, on its way.

    Args:
        theirs: the optimizer.
        given: the options that the user gives.
    """

    def __init__(self, theirs: Peer, given: Mapping[str, Any]) -> None:
        self.theirs = theirs
        self.words: Translation = theirs.translation
        self.name = _method(theirs)
        cls: Any = get(self.name)
        self.hypers: Mapping[str, Hyper] = cls.hypers
        self.values = {option: _plain(x) for option, x in {**theirs.options, **given}.items()}
        for option, value in self.values.items():
            if value == REQUIRED and option not in self.words.ignored:
                raise InvalidOption(f"{theirs.label} needs {option}=...: give it")

    def counterpart(self) -> Counterpart:
        """The result."""
        own = {option: None if x == "none" else x for option, x in self.words.ours.items()}  # TOML has no None
        found = {**own, **dict(self._packed()), **dict(self._spread()), **dict(self._decay())}
        for option, value in self.values.items():
            if not self._is_settled(option):
                found |= {k: x for k, x in self._one(option, value).items() if x is not None or k not in found}
        checked = {option: self.hypers[option].check(x, self.name) for option, x in found.items()}
        return Counterpart(
            peer=self.theirs.label,
            name=self.name,
            options={o: checked[o] for o, h in self.hypers.items() if o in checked and checked[o] != h.default},
            wrappers=tuple(self._switched_on()),
        )

    def _switched_on(self) -> Iterator[str]:
        for switch, wrapper in self.words.wrappers.items():
            if self.values.get(switch) and not self._is_idle(switch):
                if not find(wrapper, kind="wrapper"):
                    raise self._no_counterpart(switch, self.values[switch])
                yield wrapper

    def _is_settled(self, option: str) -> bool:
        """True for an option that changes no number, or that belongs to something that is dealt with elsewhere."""
        parts = [part for parts in self.words.packed.values() for part in parts]
        settled = {*self.words.ignored, *self.words.wrappers, *self.words.spread, *parts, *_DECAY}
        return option in settled or self._is_idle(option)

    def _is_idle(self, option: str) -> bool:
        """True for an option that says nothing beside the others."""
        needed, hindering = self.words.only_with.get(option, ""), self.words.not_with.get(option, "")
        return not self.values.get(needed, True) or bool(self.values.get(hindering, False))

    def _one(self, option: str, value: Any) -> dict[str, Any]:
        name = self.words.renamed.get(option, option)
        named = self.words.values.get(option)
        if named is not None and str(value) in named:
            value = named[str(value)]
        if name in self.hypers:
            return {name: value}
        if option in self.words.always:
            if value == _plain(self.words.always[option]):
                return {}
        elif not value:  # it is off
            return {}
        raise self._no_counterpart(option, value)

    def _no_counterpart(self, option: str, value: Any) -> NoCounterpart:
        return NoCounterpart(
            f"{self.theirs.label} with {option}={value!r} has no counterpart: {self.name} does nothing of that name. "
            f"It takes: {', '.join(self.hypers)}"
        )

    def _packed(self) -> Iterator[tuple[str, Any]]:
        for name, parts in self.words.packed.items():
            if name in self.hypers and all(part in self.values for part in parts):
                yield name, tuple(self.values[part] for part in parts)

    def _spread(self) -> Iterator[tuple[str, Any]]:
        for option, names in self.words.spread.items():
            given = self.values.get(option) or ()
            values = list(zip(names, given if isinstance(given, (list, tuple)) else [given] * len(names), strict=False))
            for name in dict.fromkeys(names):
                mine = tuple(x for to, x in values if to == name)
                if name in self.hypers and mine:
                    yield name, mine if len(mine) > 1 else mine[0]

    def _decay(self) -> Iterator[tuple[str, Any]]:
        """The weight decay, and how it acts."""
        value = self.values.get("weight_decay")
        if "weight_decay" not in self.hypers:
            if value:
                raise self._no_counterpart("weight_decay", value)
            return
        yield "weight_decay", value or 0.0
        if value:
            yield from self._way_of_decay()

    def _way_of_decay(self) -> Iterator[tuple[str, Any]]:
        switch = next((switch for switch in _SWITCHES if switch in self.values), "")
        decoupled = self.values.get(switch)
        own = self.hypers["weight_decay"].decay
        if "decoupled_weight_decay" in self.hypers and decoupled is not None:
            yield "decoupled_weight_decay", decoupled
        elif decoupled != self.words.always.get(switch, decoupled) or (
            own and decoupled is not None and decoupled != (own == "decoupled")
        ):
            raise self._no_counterpart(switch, decoupled)
        if "fixed_decay" in self.values and "fixed_decay" in self.hypers:
            yield "fixed_decay", self.values["fixed_decay"]
        elif self.values.get("fixed_decay"):
            raise self._no_counterpart("fixed_decay", value=True)


#: What the switch between L2 and decoupled weight decay is called.
_SWITCHES = ("weight_decouple", "decoupled_weight_decay", "decoupled_decay", "decoupled")
_DECAY = frozenset({"weight_decay", "fixed_decay", *_SWITCHES})


def _method(theirs: Peer) -> str:
    """The name of our method."""
    names = {normalise(text): spec.name for spec in find(kind="optimizer") for text in (spec.name, *spec.aliases)}
    for text in (theirs.translation.name,) if theirs.translation.name else (theirs.name, theirs.cls):
        if normalise(text) in names:
            return names[normalise(text)]
    raise NoCounterpart(f"{theirs.label} has no counterpart here: no optimizer of that name is installed")


def _plain(value: Any) -> Any:
    """Options as JSON and TOML have them, with tuples again; anything else, such as a dtype, is told by its text."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value if isinstance(value, (bool, int, float, str, dict, Tensor, type(None))) else name_of(value)
