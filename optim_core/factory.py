"""create_optimizer: parameter groups, method, wrappers, in one call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from optim_core.api import find, get, get_wrapper, info
from optim_core.catalog.registry import registry
from optim_core.catalog.specs import OptimizerSpec, WrapperSpec
from optim_core.errors import InvalidOption, PackNotInstalled, UnknownOption, UnresolvedName
from optim_core.grouping import GroupsChoice, groups_by
from optim_core.names import did_you_mean
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.wrapping.wrapper import Wrapper

WrapperChoice: TypeAlias = "str | tuple[str, Mapping[str, Any]] | Callable[[Optimizer], Optimizer]"
NoDecay: TypeAlias = Literal["auto"] | Callable[[str, nn.Module, nn.Parameter], bool] | None

_NORMS = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalisation, all dimensions
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_WHY_AUTO = "no decay: biases and parameters of normalisation layers"
_WHY_CHOSEN = "no decay: chosen by no_decay"


def create_optimizer(
    model: nn.Module | Iterable[Any],
    name: str,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    wrappers: Sequence[WrapperChoice] = (),
    use_gc: bool | Mapping[str, Any] = False,
    use_lookahead: bool | Mapping[str, Any] = False,
    no_decay: NoDecay = "auto",
    groups: GroupsChoice | None = None,
    **options: Any,
) -> Optimizer:
    """Build an optimizer for a model.

    By default, biases and the parameters of normalisation layers get no weight decay; ``optimizer.explain()`` shows
    what is in force for each parameter, and why. Parameters carry their names, so checkpoints match by name.

    Args:
        model: a module, or its parameters (all of which are then decayed, because their layers are unknown).
        name: a method, as for :func:`optim_core.get`; ``torch:NAME`` for torch's own.
        lr: learning rate; None for the method's default.
        weight_decay: None for the method's default.
        wrappers: what to put around it, innermost first: a list of names, (name, options), or callables. A wrapper that
            takes a ``model``, or a part of one (RotoGrad's rotations), gets it from this one.
        use_gc: centralise gradients; a mapping gives that wrapper's options. Innermost of all.
        use_lookahead: the same for Lookahead. Outermost of all.
        no_decay: ``"auto"``; None to decay every parameter; or a function of (name, module, parameter) that is true of
            a parameter that shall not be decayed.
        groups: a rule for parameter groups: ``"no_decay"``, ``"layerwise_decay"``, ``"layer_decay"`` (timm's),
            ``"lora_plus"``, ``"mup"`` (see :mod:`optim_core.group_rules`) or one of a pack, with options as in
            ``("layerwise_decay", {"decay": 0.8})``; or a function of (model, lr, weight_decay) that returns groups.
            ``no_decay`` applies within each of them. None for the method's own groups.
        options: the method's own options.

    Returns:
        The optimizer, or its outermost wrapper.

    Raises:
        UnknownName, PackNotInstalled, LicenseNotAllowed: as :func:`optim_core.get`.
        UnknownOption, InvalidOption: an option is misspelt, of the wrong type or out of range.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
        >>> optimizer = create_optimizer(model, "torch:adamw", lr=1e-3, weight_decay=0.1)
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.1), (3, 0.0)]
    """
    cls = get(name)
    takes = _arguments(cls, model)
    option_names = _option_names(cls) - set(takes)
    flags = [key for key in options if key.startswith("use_") and key not in option_names]
    if flags:
        raise UnknownOption(
            f"create_optimizer has no option {flags[0]!r}: it takes use_gc and use_lookahead"
            + _wrapper_instead(flags[0].removeprefix("use_"))
        )
    _check_no_decay(no_decay, name, decays="weight_decay" in option_names)
    choices = (*_flag("gc", use_gc), *_checked(wrappers), *_flag("lookahead", use_lookahead))
    common: dict[str, Any] = {
        key: value for key, value in {"lr": lr, "weight_decay": weight_decay}.items() if value is not None
    }
    _check_options(cls, {**common, **options}, option_names)
    if _first_argument(cls) in takes:
        if callable(no_decay) or groups is not None:
            raise InvalidOption(f"{name} takes the model and makes groups itself: leave out no_decay and groups")
        optimizer = cls(**takes, **common, **options)
    else:
        decays = "weight_decay" in option_names
        chosen = None if groups is None else _chosen_groups(cls, groups, model, common)
        optimizer = cls(_groups(cls, model, no_decay, decays=decays, chosen=chosen), **takes, **common, **options)
    for choice in choices:
        optimizer = _wrap(optimizer, choice, model if isinstance(model, nn.Module) else None)
    return optimizer


def _wrapper_instead(name: str) -> str:
    """What to do about a flag for a wrapper that has none: the list, if there is such a wrapper."""
    try:
        found = info(name, "wrapper").name
    except PackNotInstalled as absent:
        return f"; {absent}, then wrappers=[{name!r}]"
    except UnresolvedName:
        near = did_you_mean(name, [spec.name for spec in find(kind="wrapper")])
        return f", and there is no wrapper {name!r}.{near} `optim-core list --kind wrapper` shows what there is"
    return f"; any other wrapper goes into wrappers=[{found!r}]"


def _option_names(cls: type[Optimizer]) -> set[str]:
    return set(cls.hypers) if issubclass(cls, RuleOptimizer) else set(inspect.signature(cls).parameters)


def _first_argument(cls: type[Optimizer]) -> str:
    return next(iter(inspect.signature(cls).parameters), "")


def _check_options(cls: type[Optimizer], options: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse an option that a plain class does not have; others say so themselves.

    Raises:
        UnknownOption: naming it and what is near.
    """
    parameters = inspect.signature(cls).parameters.values()
    if issubclass(cls, RuleOptimizer) or any(q.kind is q.VAR_KEYWORD for q in parameters):
        return
    own = [name for name in names if name != _first_argument(cls)]
    for option in options:
        if option not in own:
            near = did_you_mean(option, own)
            raise UnknownOption(f"{cls.__name__} has no option {option!r}.{near} It takes: {', '.join(sorted(own))}")


def _arguments(cls: type[Optimizer], model: nn.Module | Iterable[Any]) -> dict[str, Any]:
    """The arguments of a plain class that follow from the model, as its spec names them.

    Raises:
        InvalidOption: there are parameters only.
    """
    for entry in registry().nearest_entries(cls, "arguments"):
        if isinstance(entry.spec, OptimizerSpec):
            return _arguments_from(model, entry.spec.arguments, cls.__name__)
    return {}


def _arguments_from(model: object, arguments: Mapping[str, str], name: str) -> dict[str, Any]:
    if arguments and not isinstance(model, nn.Module):
        raise InvalidOption(f"{name} takes {', '.join(arguments)}: give create_optimizer the model, not its parameters")
    return {argument: _PROVIDERS[what](model) for argument, what in arguments.items()}


#: How each of `optim_core.catalog.specs.ARGUMENTS` is got from a model.
_PROVIDERS: Mapping[str, Callable[[Any], Any]] = {
    "model": lambda model: model,
    "named_parameters": lambda model: [(name, p) for name, p in model.named_parameters() if p.requires_grad],
}


def _check_no_decay(no_decay: object, name: str, *, decays: bool) -> None:
    if no_decay not in ("auto", None) and not callable(no_decay):
        raise InvalidOption(
            f"no_decay={no_decay!r} is neither 'auto', None nor a function of (name, module, parameter)"
        )
    if callable(no_decay) and not decays:
        raise InvalidOption(f"{name} has no weight_decay, so no_decay does nothing: leave it out")


def _groups(
    cls: type[Optimizer],
    model: nn.Module | Iterable[Any],
    no_decay: NoDecay,
    *,
    decays: bool,
    chosen: list[dict[str, Any]] | None = None,
) -> Iterable[Any]:
    """The groups of a model, the method's own unless others are chosen, each split in two: with decay and without."""
    if not isinstance(model, nn.Module):
        if no_decay not in ("auto", None):
            raise InvalidOption("no_decay decides by module, so create_optimizer needs the model, not its parameters")
        return model
    undecayed = {p for name, module, p in _trainable(model) if decays and _is_undecayed(name, module, p, no_decay)}
    zero_decay = {"weight_decay": 0.0, "why": _WHY_AUTO if no_decay == "auto" else _WHY_CHOSEN}
    groups = []
    if chosen is None:
        chosen = (cls if issubclass(cls, RuleOptimizer) else RuleOptimizer).groups_of(model)
    for group in chosen:
        with_decay = [(name, p) for name, p in group["params"] if p not in undecayed]
        without_decay = [(name, p) for name, p in group["params"] if p in undecayed]
        if with_decay:
            groups.append({**group, "params": with_decay})
        if without_decay:
            groups.append({**group, **zero_decay, "params": without_decay})
    return groups


def _chosen_groups(
    cls: type[Optimizer], choice: GroupsChoice, model: nn.Module | Iterable[Any], given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The groups that a rule makes of a model, with lr and weight decay as they will be in force."""
    if not isinstance(model, nn.Module):
        raise InvalidOption("groups go by the model's layers: give create_optimizer the model, not its parameters")
    if issubclass(cls, RuleOptimizer):
        defaults = {name: hyper.default for name, hyper in cls.hypers.items()}
    else:
        defaults = {q.name: q.default for q in inspect.signature(cls).parameters.values()}
    in_force = {**defaults, **given}
    numbers = {name: in_force.get(name) for name in ("lr", "weight_decay")}
    numbers = {name: x if isinstance(x, (int, float, Tensor)) else None for name, x in numbers.items()}
    return groups_by(choice, model, **numbers)


def _trainable(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Each trainable parameter once, with its full name and its module."""
    seen: set[Tensor] = set()
    for prefix, module in model.named_modules():
        for name, p in module.named_parameters(prefix, recurse=False):
            if p.requires_grad and p not in seen:  # a tied parameter counts where it is met first
                seen.add(p)
                yield name, module, p


def _is_undecayed(name: str, module: nn.Module, p: nn.Parameter, no_decay: NoDecay) -> bool:
    if no_decay is None:
        return False
    if callable(no_decay):
        return no_decay(name, module, p)
    # attention and recurrent layers name their biases otherwise: in_proj_bias, bias_ih_l0
    words = name.rpartition(".")[2].split("_")
    return "bias" in (words[0], words[-1]) or isinstance(module, _NORMS) or _looks_like_norm(module, p)


def _looks_like_norm(module: nn.Module, p: nn.Parameter) -> bool:
    """Recognise the vectors of normalisation layers that a model defines itself (LlamaRMSNorm, LayerNorm2d)."""
    return p.ndim <= 1 and re.search(r"norm(\dd)?$", type(module).__name__.lower()) is not None


def _flag(name: str, value: object) -> list[WrapperChoice]:
    if isinstance(value, Mapping):
        return [(name, value)]
    if not isinstance(value, bool):
        raise InvalidOption(f"use_{name}={value!r} is neither True, False nor a mapping of the wrapper's options")
    return [name] if value else []


def _checked(wrappers: object) -> list[WrapperChoice]:
    if isinstance(wrappers, str) or not isinstance(wrappers, Sequence):
        raise InvalidOption(f"wrappers={wrappers!r} should be a list, the innermost first: wrappers=['lookahead']")
    for choice in wrappers:
        if not (isinstance(choice, str) or callable(choice) or _is_pair(choice)):
            raise InvalidOption(
                f"{choice!r} in wrappers is neither a name, nor (name, options), nor a function of the optimizer"
            )
    return list(wrappers)


def _is_pair(choice: object) -> bool:
    if not isinstance(choice, tuple) or len(choice) != 2:
        return False
    return isinstance(choice[0], str) and isinstance(choice[1], Mapping)


def _arguments_of(name: str, wrapper: Callable[..., Optimizer], model: nn.Module | None) -> dict[str, Any]:
    """The arguments of a wrapper that follow from the model."""
    spec = info(name, "wrapper")
    if isinstance(spec, WrapperSpec) and spec.arguments:
        return _arguments_from(model, spec.arguments, name)
    if model is None:
        return {}
    if isinstance(wrapper, type) and issubclass(wrapper, Wrapper):
        return wrapper.arguments_of(model)
    return {"model": model} if "model" in inspect.signature(wrapper).parameters else {}


def _wrap(optimizer: Optimizer, choice: WrapperChoice, model: nn.Module | None) -> Optimizer:
    if not callable(choice):
        name, options = (choice, {}) if isinstance(choice, str) else choice
        cls = get_wrapper(name)
        return cls(optimizer, **_arguments_of(name, cls, model) | dict(options))
    wrapped = choice(optimizer)
    if not isinstance(wrapped, Optimizer):
        raise InvalidOption(f"{choice!r} in wrappers returned {wrapped!r}, which is not an optimizer")
    return wrapped
