"""How states are stored: shape, type, first value, size, what a checkpoint restores, and what rounding needs.

This is the only place that says it. Another way to store states (bfloat16, 8 bits) changes this module and how engines
load and store. A state is a tensor in a dict per parameter, or several, under its name and their numbers: ``Q_0``,
``Q_1``; so that any tool can carry it, the dict holds nothing but tensors and numbers. Complex parameters count as
pairs of real numbers.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Container, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, SupportsFloat, TypeAlias

import torch
from torch import Tensor

from optim_core.engines.sharded import first_of, is_sharded, placed_like
from optim_core.engines.tensors import compute_dtype, real, shape_of, total_dtype
from optim_core.methods.blocks import Block, blocks_in
from optim_core.methods.declarations import Group, State
from optim_core.rules.values import Level, numbers_each

Shape: TypeAlias = tuple[int, ...]


# what there is to store -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class RoundingState(State):
    """A state that the core keeps beside the method's own, for bfloat16 parameters only.

    Attributes:
        in_parameter_dtype: True if it is stored in the parameter's type instead of that of arithmetic.
    """

    in_parameter_dtype: bool = False


ROUNDING_STATES: Mapping[str, RoundingState] = {
    "compensation": RoundingState(
        name="compensation",
        doc="what rounding has cut off p",
        when=lambda group: bool(group["rounding"] == "kahan"),
        in_parameter_dtype=True,
    ),
    "salt": RoundingState(
        name="salt",
        doc="tells parameters apart in random draws",
        level=Level.TENSOR,
        when=lambda group: bool(group["rounding"] == "stochastic"),
    ),
}


class StateLayout(NamedTuple):
    """The tensors of one state of one parameter, with a group's options in force.

    Attributes:
        shapes: that of its tensor, or a list of them if the state is several tensors.
        level: the level on which it has numbers.
        every: n if it has a number per n elements of the flattened parameter.
        copies: how many tensors the rule takes as a list; None: a single one.
    """

    shapes: Shape | list[Shape]
    level: Level
    every: int = 1
    copies: int | None = None

    def named(self, name: str) -> dict[str, Shape]:
        """The name and shape of each of its tensors; ``name`` is the state's."""
        if isinstance(self.shapes, list):
            return {key_of(name, k): shape for k, shape in enumerate(self.shapes)}
        return {name: self.shapes}


def key_of(name: str, position: int | None) -> str:
    """The key of a state's tensor in the dict of a parameter; its position counts if the state is several."""
    return name if position is None else f"{name}_{position}"


def state_of_key(key: str, names: Container[str]) -> str:
    """The name of the state that a key belongs to, among the names that there are; the key of several has a number."""
    return key if key in names else re.sub(r"_\d+$", "", key)


def keys_of(states: Mapping[str, Any], name: str) -> list[str]:
    """The keys of a state's tensors in the dict of a parameter: one, several, or none."""
    if name in states:
        return [name]
    return list(itertools.takewhile(states.__contains__, (key_of(name, k) for k in itertools.count())))


def tensors_of(states: Mapping[str, Any], name: str) -> list[Tensor]:
    """The tensors of a state in the dict of a parameter: one, several, or none.

    Example:
        >>> tensors_of({"step": 1, "Q_0": torch.zeros(2), "Q_1": torch.ones(2)}, "Q")
        [tensor([0., 0.]), tensor([1., 1.])]
    """
    return [states[key] for key in keys_of(states, name)]


def layout_of(declared: State, shape: Shape, group: Group) -> StateLayout | None:
    """The layout of a state of a parameter of this shape; None if it does not have the state.

    That of a complex parameter has the dimension of its pairs, besides. If the group cuts the parameter into blocks, it
    has the shape of the parameter or one dimension, in which the blocks' tensors stand one behind the other.
    """
    blocks = blocks_in(group, shape)
    if blocks is not None:
        return _joint_layout(declared, shape, _block_layouts(declared, blocks, group))
    if not declared.present(group):
        return None
    every = 1 if declared.every is None else int(group[declared.every])
    copies = None if declared.copies is None else _count(group[declared.copies])
    numbers = (*shape, 2) if numbers_each(shape) > 1 else shape
    if declared.shape is not None:
        own: Shape | list[Shape] | None = declared.shape(shape, group)
        level = Level.ELEMENT if own == shape else Level.OWN
        own = numbers if level is Level.ELEMENT else own
        return None if own is None else StateLayout(own, level, every, copies)
    level = declared.level_in(group)
    if level is Level.ROW:
        one: Shape = (*shape[:1], *(1 for _ in numbers[len(shape[:1]) :]))
    elif level >= Level.TENSOR:
        one = ()
    else:
        one = numbers if every == 1 else (-(-math.prod(numbers) // every),)
    return StateLayout(one if copies is None else [one] * copies, level, every, copies)


def _block_layouts(declared: State, blocks: Sequence[Block], group: Group) -> list[StateLayout | None]:
    """The layout of a state of each block, as if it were a parameter."""
    whole = {**group, "blocks": None}
    known = {shape: layout_of(declared, shape, whole) for shape in {block.shape for block in blocks}}
    return [known[block.shape] for block in blocks]


def _joint_layout(declared: State, shape: Shape, layouts: Sequence[StateLayout | None]) -> StateLayout | None:
    """The layout of a state of all blocks of a parameter."""
    one = next((layout for layout in layouts if layout is not None), None)
    if one is None or (one.level is Level.ELEMENT and declared.shape is None):
        return one and one._replace(shapes=shape if one.copies is None else [shape] * one.copies)
    sizes = {key: sum(part.length for part in parts if part) for key, parts in _stored("", layouts).items()}
    joint: Any = [(sizes[key_of("", k)],) for k in range(len(sizes))] if "" not in sizes else (sizes[""],)
    return one._replace(shapes=joint)


class _Stored(NamedTuple):
    """Where the tensor of a block is found in a state's tensor, and its shape."""

    start: int
    length: int
    shape: Shape


def _stored(name: str, layouts: Sequence[StateLayout | None]) -> dict[str, list[_Stored | None]]:
    """The parts of each block by the keys of a state; None where a block has no such tensor."""
    named = [{} if layout is None else layout.named(name) for layout in layouts]
    keys = sorted({key for shapes in named for key in shapes}, key=lambda key: (len(key), key))
    found: dict[str, list[_Stored | None]] = {}
    for key in keys:
        sizes = [math.prod(shapes[key]) if key in shapes else 0 for shapes in named]
        starts = itertools.accumulate(sizes, initial=0)
        found[key] = [
            _Stored(start, size, shapes[key]) if key in shapes else None
            for start, size, shapes in zip(starts, sizes, named, strict=False)
        ]
    return found


def states_of_blocks(
    states: Mapping[str, Any], declarations: Mapping[str, State], blocks: Sequence[Block], p: Tensor, group: Group
) -> Iterator[dict[str, Any]]:
    """The states of each block of a parameter, in the memory of the parameter's."""
    stored: dict[str, list[_Stored | None]] = {}
    for name, declared in declarations.items():
        if keys_of(states, name) and states[keys_of(states, name)[0]].shape != p.shape:
            stored |= _stored(name, _block_layouts(declared, blocks, group))

    def part(x: Any, key: str, number: int) -> Any:
        if key in stored:
            at = stored[key][number]
            return None if at is None else x.narrow(0, at.start, at.length).view(at.shape)
        return blocks[number].of(x) if isinstance(x, Tensor) and x.shape == p.shape else x

    for number in range(len(blocks)):
        own = {key: part(x, key, number) for key, x in states.items()}
        yield {key: x for key, x in own.items() if x is not None}


def _count(copies: Any) -> int:
    return copies if isinstance(copies, int) else len(copies)


def may_have(declared: State, p: Tensor) -> bool:
    """Return True unless parameters of this type do without the state, whatever the options."""
    return p.dtype is torch.bfloat16 or not isinstance(declared, RoundingState)


def is_like_parameter(declared: State) -> bool:
    """Return True if the state has the parameter's shape wherever a parameter has it, whatever the options."""
    return declared.level is Level.ELEMENT and declared.shape is None and declared.every is None


def dtype(declared: State | None, p: Tensor) -> torch.dtype:
    """The type in which a state of a parameter is stored; None stands for one that is not declared."""
    if isinstance(declared, RoundingState) and declared.in_parameter_dtype:
        return p.dtype
    if declared is not None and declared.stored is not None:
        stored: torch.dtype = getattr(torch, declared.stored)
        return stored
    return compute_dtype(real(p))


def nbytes(declared: State, p: Tensor, group: Group) -> int:
    """The bytes that a state takes for a parameter."""
    layout = layout_of(declared, shape_of(p), group) if may_have(declared, p) else None
    return 0 if layout is None else sum(map(math.prod, layout.named("").values())) * dtype(declared, p).itemsize


# states of a parameter ------------------------------------------------------------------------------------------
def begin(
    states: MutableMapping[str, Any], declarations: Mapping[str, State], p: Tensor, group: Group, *, number: int
) -> bool:
    """Create the states that a parameter should have and lacks, and its step count.

    Args:
        states: those that it has, by name; new ones are added.
        declarations: those of all states that a parameter may have.
        p: the parameter.
        group: its group.
        number: tells the parameter apart from the optimizer's others.

    Returns:
        True if its states begin here: it has done no step with states of the method's own, and nobody gave it any.
    """
    like = real(p.detach())
    begun = created = False
    for name, declared in declarations.items():
        if states.get("step") and (name in states or key_of(name, 0) in states):
            begun |= name not in ROUNDING_STATES
            continue
        layout = layout_of(declared, shape_of(p), group) if may_have(declared, p) else None
        if layout is None:
            continue
        named = layout.named(name)
        begun |= name not in ROUNDING_STATES and any(key in states for key in named)
        start = number if name == "salt" else _start(declared, group)
        for key, shape in named.items():
            if key not in states:
                states[key] = _first_tensor(like, shape, start, layout.every, dtype(declared, p))
                created = True
            # since they were created without a step, p or the option that they begin with may have changed
            elif isinstance(declared.start, str) and states.get("step") == 0:
                states[key].copy_(_first_tensor(like, shape, start, layout.every, dtype(declared, p)))
    steps = states.setdefault("step", None if begun else 0)
    states["step"] = steps or 0
    return steps == 0 or (created and not begun)


def _start(declared: State, group: Group) -> float | Literal["p"]:
    if declared.start == "p":
        return "p"
    return float(group[declared.start] if isinstance(declared.start, str) else declared.start)


def _first_tensor(like: Tensor, shape: Shape, start: float | Literal["p"], every: int, of_type: torch.dtype) -> Tensor:
    """A state's tensor for a parameter, every n-th element of it or in a shape of its own."""
    if start == "p":
        value = like if every == 1 else like.reshape(-1)[::every]
        return value.to(of_type, copy=True)
    if shape == tuple(like.shape):
        return torch.full_like(like, start, dtype=of_type)
    if is_sharded(like):
        return torch.full_like(first_of(like, shape), start, dtype=of_type)
    return torch.full(shape, start, dtype=of_type, device=like.device)


def store(declared: State, value: Tensor | SupportsFloat, p: Tensor) -> Tensor:
    """Return a value as the state of a parameter is stored: its type, its device, and the parameter's layout."""
    like, of_type = real(p.detach()), dtype(declared, p)
    x = _tensor(value)
    if x.shape != like.shape or is_sharded(x):
        return x.to(of_type).to(like.device)
    return torch.empty_like(like, dtype=of_type).copy_(placed_like(x, like))


def _tensor(value: Tensor | SupportsFloat) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    return torch.tensor(float(value), dtype=torch.float64, device="cpu")


def restore(saved: Mapping[str, Any], declarations: Mapping[str, State], p: Tensor) -> dict[str, Any]:
    """Return a parameter's saved states as they are stored for it, in memory of their own."""

    def own(key: str, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        name = state_of_key(key, declarations)
        # what a wrapper keeps has the type that it has
        if name not in declarations:
            return x.to(device=p.device, copy=True)
        return real(x).to(device=p.device, dtype=dtype(declarations[name], p), copy=True)

    return {key: int(x) if key == "step" else own(key, x) for key, x in saved.items()}


def as_parameter(own: Mapping[str, Any], declarations: Mapping[str, State], p: Tensor) -> dict[str, Any]:
    """A complex parameter's states as torch keeps them: complex where they have its shape."""

    def shown(key: str, x: Any) -> Any:
        like = key in declarations and isinstance(x, Tensor) and x.shape == real(p).shape
        return torch.view_as_complex(x.contiguous()) if like and not x.is_complex() else x

    return {key: shown(key, x) for key, x in own.items()}


# states of the whole model --------------------------------------------------------------------------------------
def begin_whole(declared: State, group: Group, device: torch.device) -> Tensor:
    """The first value of a state of the whole model.

    Args:
        declared: the state.
        group: the first group, whose options count.
        device: that of the parameters.
    """
    start = group[declared.start] if isinstance(declared.start, str) else declared.start
    return store_whole(float(start), device)


def store_whole(value: Tensor | SupportsFloat, device: torch.device) -> Tensor:
    """Return a single number as a state of the whole model is stored: 0-d, in the type of totals."""
    return _tensor(value).reshape(()).to(total_dtype(device)).to(device)


# what wrappers keep ---------------------------------------------------------------------------------------------
def memory_dtype(p: Tensor) -> torch.dtype:
    """The type in which wrappers keep tensors of a parameter's shape: the parameter's, but at least float32."""
    return compute_dtype(p)


def begin_kept(
    kept: MutableMapping[str, Any],
    prefix: str,
    declarations: Mapping[str, State],
    p: Tensor,
    options: Group,
    *,
    afresh: bool,
) -> None:
    """Create what a wrapper with a rule keeps of a parameter, and lacks: tensors of its shape, and single numbers.

    Args:
        kept: what it keeps, by name; new ones are added.
        prefix: what the names begin with.
        declarations: of the rule's states.
        p: the parameter.
        options: the wrapper's.
        afresh: what begins as the parameter's value does so again.
    """
    for name, declared in declarations.items():
        layout = layout_of(declared, shape_of(p), options)
        start = _start(declared, options) if layout is not None else 0.0
        for key in {} if layout is None else layout.named(prefix + name):
            if key in kept and not (afresh and start == "p"):
                continue
            if layout is not None and layout.level is Level.ELEMENT:
                value = p.detach().to(memory_dtype(p), copy=True)
                kept[key] = value if start == "p" else value.fill_(start)
            else:
                kept[key] = _first_tensor(real(p.detach()), (), start, 1, dtype(declared, p))
