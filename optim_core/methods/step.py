"""From an optimizer with gradients to the parts of its parameters in a step."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from optim_core.engines.tensors import as_pairs, real
from optim_core.methods import states
from optim_core.methods.blocks import blocks_in
from optim_core.methods.composition import Composition
from optim_core.methods.method import Method
from optim_core.methods.moved import follow
from optim_core.methods.parameter_step import ParameterStep, RowsStep, rows_of_gradient, rows_of_states
from optim_core.rules.options import late_numbers


class Stepping(Protocol):
    """The optimizer as a step needs it."""

    @property
    def method(self) -> Method:
        """The optimizer's method."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups."""

    @property
    def state(self) -> Any:
        """The state of each parameter."""

    @property
    def whole(self) -> Mapping[str, Any]:
        """The state of the model as a whole."""

    def set_whole(self, name: str, value: Any) -> None:
        """Set an entry of the state of the model as a whole."""

    @property
    def whole_step(self) -> int:
        """The number of steps that the model as a whole has done, if the method counts them."""

    def generator(self, device: torch.device) -> torch.Generator:
        """The source of random draws on a kind of device."""

    def start_state(self, p: Tensor, group: Mapping[str, Any], number: int) -> bool:
        """Create the states that the number-th parameter lacks; return True if it has none from before."""

    def checked_extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Refuse gradients that the method cannot use; return the extra inputs by name, one tensor per parameter."""

    @property
    def composition(self) -> Composition:
        """The transforms composed with the rule."""


def given_numbers(optimizer: Stepping) -> dict[str, Any]:
    """The numbers of this step that the core gives to rules and that are the same for all groups."""
    groups = optimizer.param_groups
    grad_scale = getattr(optimizer, "grad_scale", None)  # GradScaler sets it for the time of the call
    at_random = any(group["rounding"] == "stochastic" for group in groups)
    draws = optimizer.generator(torch.device("cpu")) if at_random else None
    return {
        "whole_step": optimizer.whole_step + 1,
        "largest_lr": None if optimizer.method.is_alone(groups[0]) else largest_lr(groups),
        "grad_scale": None if grad_scale is None else float(grad_scale),
        **optimizer.composition.numbers(),
        "rounding_seed": int(torch.randint(1 << 24, (), generator=draws, device="cpu")) if at_random else None,
    }


def largest_lr(groups: Sequence[Mapping[str, Any]]) -> float:
    """The largest lr among the groups; 0 if none has one."""
    return max((float(group["lr"]) for group in groups if group.get("lr") is not None), default=0.0)


def rule_options(
    method: Method, group: Mapping[str, Any], step: int, given: dict[str, Any], *, first: bool
) -> dict[str, Any]:
    """The keyword arguments that a rule may take for a group: its options and the given numbers."""
    own = {"step": step, "first": float(first)}
    if given["largest_lr"] is None:
        own["largest_lr"] = largest_lr([group])
    return _options(method, group) | given | own


def _options(method: Method, group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group as a rule sees them: each block is a parameter to it."""
    return {name: None if name == "blocks" else group[name] for name in method.hypers}


def late_options(method: Method, group: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a rule can be called with for a group long after the start, for a look at the rule alone."""
    lr = largest_lr([group] if method.is_alone(group) else groups)
    return _options(method, group) | late_numbers(lr)


def present_states(method: Method, group: Mapping[str, Any]) -> tuple[bool, ...]:
    """Return for each local state of a method whether the options of a group ask for it."""
    return tuple(declared.present(group) for declared in method.parameter_states.values())


def settle_whole(optimizer: Stepping) -> None:
    """Have the states on level WHOLE follow the parameters, which may have moved since they were created."""
    groups = optimizer.param_groups
    for name, declared in optimizer.method.whole_states.items():
        device = next(p.device for group in groups for p in group["params"])
        for group in groups if optimizer.method.is_alone(groups[0]) else groups[:1]:
            value = group[name]
            if value.device.type == "meta":
                value = states.begin_whole(declared, group, device)
            elif value.device != device:
                value = states.store_whole(value, device)
            if value is not group[name]:
                group[name] = value
                if group is groups[0] and not optimizer.method.is_alone(group):
                    optimizer.set_whole(name, value)


def parameter_steps(
    optimizer: Stepping, numbered: Mapping[int, tuple[Tensor, dict[str, Any]]], given: dict[str, Any]
) -> Iterator[ParameterStep]:
    """The parts of parameters in a step; creates the states that they lack.

    Args:
        optimizer: the optimizer.
        numbered: its parameters that have a gradient, each with its group, by its number among all.
        given: as :func:`given_numbers` returns them.
    """
    params = [p for p, _ in numbered.values()]
    extras = {
        name: dict(zip(map(id, params), tensors, strict=True))
        for name, tensors in optimizer.checked_extras(params).items()
    }
    if not optimizer.whole_step:
        settle_whole(optimizer)
    options: dict[Any, dict[str, Any]] = {}
    for number, (param, group) in numbered.items():
        if param.grad is None or not param.numel():
            continue
        first = optimizer.start_state(param, group, number)
        own = optimizer.state[param]
        follow(own, optimizer.method.parameter_states, param, group, optimizer.method.name)
        key = id(group), own["step"] + 1, first
        if key not in options:
            options[key] = rule_options(optimizer.method, group, key[1], given, first=first)
        part = _part(optimizer, param, own, options[key], key, group, {n: x[id(param)] for n, x in extras.items()})
        yield from _in_blocks(part, optimizer.method)


def _part(
    optimizer: Stepping,
    param: Tensor,
    own: dict[str, Any],
    options: Mapping[str, Any],
    options_key: Hashable,
    group: dict[str, Any],
    extras: Mapping[str, Tensor],
) -> ParameterStep:
    """A parameter's part; that of its rows, if it has a sparse gradient."""
    p, g = as_pairs(param.detach(), param), cast("Tensor", param.grad).detach()
    common: dict[str, Any] = {
        "options": options,
        "options_key": options_key,
        "group": group,
        "param": param,
        "kept": optimizer.composition.kept,
        "transforms": optimizer.composition.acting_on(param),
        "counted": own,
    }
    if g.layout is torch.strided:
        laid_out = {name: _laid_out_like(as_pairs(x.detach(), param), p) for name, x in extras.items()}
        return ParameterStep(p=p, g=as_pairs(g, param), states=own, extras=laid_out, **common)
    rows, g = rows_of_gradient(g)
    states_of_rows = rows_of_states(own, p, rows)
    return RowsStep(p=p.index_select(0, rows), g=real(g), states=states_of_rows, extras={}, rows=rows, **common)


def _in_blocks(step: ParameterStep, method: Method) -> Iterator[ParameterStep]:
    """A parameter's part in a step, or those of the blocks that its group cuts it into."""
    blocks = None if isinstance(step, RowsStep) else blocks_in(step.group, step.shape)
    if blocks is None:
        yield step
        return
    parts = states.states_of_blocks(step.states, method.parameter_states, blocks, step.param, step.group)
    for block, own in zip(blocks, parts, strict=True):
        extras = {name: block.of(x) for name, x in step.extras.items()}
        yield replace(step, p=block.of(step.p), g=block.of(step.g), states=own, extras=extras)


def _laid_out_like(x: Tensor, p: Tensor) -> Tensor:
    return x if x.stride() == p.stride() else torch.empty_like(p, dtype=x.dtype).copy_(x)
