"""The order in which an engine without kernels of its own computes a graph, and in whose memory.

A result may be written over an operand that is not read again: always over a temporary, and over a buffer
(parameter or state) only on the way to that buffer's own new value. Gradients are never written over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optim_core.rules.graph import is_local, order
from optim_core.rules.values import Value


@dataclass(frozen=True)
class Instruction:
    """One operation.

    Attributes:
        value: what to compute.
        over: position of the operand whose memory the result takes, or None for memory of its own.
        dead: indices of the operands that are not read again.
    """

    value: Value
    over: int | None
    dead: frozenset[int]


@dataclass(frozen=True)
class Schedule:
    """The instructions that compute some roots.

    Attributes:
        roots: the wanted values, by the name of the buffer that each goes to.
        code: the instructions, in order.
        displaced: roots that end in another written buffer's memory, to be moved out before that is written.
    """

    roots: Mapping[str, Value]
    code: tuple[Instruction, ...]
    displaced: frozenset[str]


def schedule(roots: Mapping[str, Value]) -> Schedule:
    """Plan the computation of ``roots``."""
    roots = {name: _settled(name, v, roots) for name, v in roots.items()}
    needed = order(roots.values(), enter=is_local)
    computed = [v for v in needed if v.op != "input"]
    last_read = {a.index: at for at, v in enumerate(computed) for a in v.args if is_local(a)}
    wanted = {v.index for v in roots.values()}
    carriers = _carriers(roots)
    memory = {v.index: v.name for v in needed if v.op == "input"}
    code = []
    for at, v in enumerate(computed):
        dying = [i for i, a in enumerate(v.args) if is_local(a) and last_read[a.index] == at and a.index not in wanted]
        over = _over(v, dying, carriers.get(v.index))
        if over is not None and v.args[over].index in memory:
            memory[v.index] = memory[v.args[over].index]
        code.append(Instruction(v, over, frozenset(v.args[i].index for i in dying)))
    displaced = (n for n, v in roots.items() if memory.get(v.index, n) != n and memory[v.index] in roots)
    return Schedule(roots, tuple(code), frozenset(displaced))


def _settled(name: str, value: Value, roots: Mapping[str, Value]) -> Value:
    """A buffer that takes another buffer's old value needs a copy of it, made before that one is written."""
    moved = value.op == "input" and value.name != name and value.name in roots
    return value.trace.copy(value) if moved else value


def _carriers(roots: Mapping[str, Value]) -> dict[int, int]:
    """For values on the way from a buffer to its new value: the operand that carries the buffer's memory."""
    carriers: dict[int, int] = {}
    for name, root in roots.items():
        path = _operands_towards(name, root)
        value = root
        while value.index in path:
            carriers.setdefault(value.index, path[value.index])
            value = value.args[path[value.index]]
    return carriers


def _operands_towards(name: str, root: Value) -> dict[int, int]:
    """Of the values that a buffer's old value leads to, on its own level: the operand that comes from there."""
    operands: dict[int, int] = {}
    reached: set[int] = set()
    for v in order([root], enter=is_local):
        if v.op == "input":
            reached |= {v.index} if v.name == name else set()
            continue
        for i, a in enumerate(v.args):
            if a.index in reached and a.level == v.level and not a.is_mask:
                operands[v.index] = i
                reached.add(v.index)
                break
    return operands


def _over(value: Value, dying: Sequence[int], carrier: int | None) -> int | None:
    if value.is_mask or value.op in _OF_THEIR_OWN:
        return None
    for i in sorted(dying, key=lambda i: i != carrier):
        a = value.args[i]
        same_shape = a.level == value.level and a.every == value.every and not a.is_mask
        if same_shape and (a.op != "input" or i == carrier):
            return i
    return None


#: Operations whose result needs memory of its own.
_OF_THEIR_OWN = frozenset({"copy", "sample", "bfloat16", "stochastic_bfloat16", "uniform"})
