"""Triton text from a program: one kernel per sweep and per stage; `kernel.py` launches them.

Results agree with torch's to rounding: division and square root round correctly, products and sums are not contracted,
NaN and inf propagate as they do there; sums are in double. Every tensor of a bucket takes part in each launch: a
kernel looks up in tables which piece of which tensor is its own. In the text, ``v7`` is the graph's value of index 7,
``a7`` what a reduction has accumulated, ``b0`` the addresses of a buffer's tensors, ``p0`` that of the tensor at hand,
``t`` the tensor, ``i`` the elements, ``j`` their positions among sampled ones, ``live`` the mask of those that exist.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch

from optim_core.engines.lowering import (
    Loop,
    Output,
    Program,
    RowStep,
    Sweep,
    count,
    finest,
    is_accumulated,
    reads,
)
from optim_core.rules.arithmetic import SIGNS
from optim_core.rules.graph import is_local, order
from optim_core.rules.values import Level, Value

#: Elements that a kernel works on at a time.
TILE = 1 << 10

_REAL = {torch.float32: "tl.float32", torch.float64: "tl.float64"}
#: How the numbers of a buffer are stored. bfloat16 is converted by its bits, since Triton's interpreter would truncate
#: instead of rounding.
_STORED = {
    torch.float64: "tl.float64",
    torch.float32: "tl.float32",
    torch.float16: "tl.float16",
    torch.bfloat16: "tl.uint16",
}
DTYPES = frozenset(_STORED)

_EXPRESSIONS: Mapping[str, str] = {
    **SIGNS,
    "neg": "{} * -1.0",  # Triton's minus subtracts from 0, which loses the sign of 0
    "abs": "tl.abs({})",
    "sign": "({0} > 0).to(REAL) - ({0} < 0).to(REAL)",
    "div": "divide({}, {})",
    "sqrt": "root({})",
    "exp": "libdevice.exp({})",
    "log": "libdevice.log({})",
    "cos": "libdevice.cos({})",
    "tanh": "libdevice.tanh({})",
    "sigmoid": "divide(1.0, 1.0 + libdevice.exp({} * -1.0))",
    "pow": "libdevice.pow({}, {})",
    "atan2": "libdevice.atan2({}, {})",
    "minimum": "tl.where({0} != {0}, {0}, tl.where({0} < {1}, {0}, {1}))",  # NaN if either is
    "maximum": "tl.where({0} != {0}, {0}, tl.where({0} > {1}, {0}, {1}))",
    "where": "tl.where({}, {}, {})",
    # Triton's interpreter loses the type of a single condition that meets many in an operation of bits
    "and": "tl.where({0}, {1}, {0})",
    "or": "tl.where({0}, {0}, {1})",
    "not": "{} == 0",
    "bfloat16": "from_bits(to_bfloat16({}).to(tl.uint32) << 16).to(REAL)",
    "stochastic_bfloat16": "stochastic_bfloat16({}, {}).to(REAL)",
    "copy": "{}.to(REAL)",
    "sample": "{}.to(REAL)",  # the loop runs over the sampled elements
}
#: torch computes these powers so, signed zeros and infinities included.
_POWERS: Mapping[float, str] = {
    2.0: "{0} * {0}",
    3.0: "{0} * {0} * {0}",
    0.5: "root({0})",
    -0.5: "divide(1.0, root({0}))",
    -1.0: "divide(1.0, {0})",
    -2.0: "divide(1.0, {0} * {0})",
}

_PRELUDE = '''
@triton.jit
def to_bfloat16(x):
    """Its bits: to the nearest, ties to even."""
    bits = x.to(tl.float32).to(tl.uint32, bitcast=True)
    return tl.where(x != x, 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.uint16)


@triton.jit
def from_bits(bits):
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def stochastic_bfloat16(x, draw):
    single = x.to(tl.float32)
    bits = single.to(tl.uint32, bitcast=True)
    above = (bits + (draw * 65536.0).to(tl.uint32)) & 0xFFFF0000
    return tl.where((bits & 0x7F800000) == 0x7F800000, single, from_bits(above))


@triton.jit
def uniform(place, seed, salt):
    """optim_core.rules.arithmetic.uniform"""
    low = 0xFFFFFFFF
    x = (place * 0x9E3779B9 + salt.to(tl.int64) * 0x85EBCA6B + seed.to(tl.int64) * 0xC2B2AE35) & low
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & low
    x = ((x ^ (x >> 15)) * 0x846CA68B) & low
    return ((x ^ (x >> 16)) >> 16).to(tl.float32) / 65536.0


@triton.jit
def largest(x, axis: tl.constexpr, keep_dims: tl.constexpr):
    """NaN if any is, as torch has it; tl.max drops it."""
    some = tl.max((x != x).to(tl.int32), axis=axis, keep_dims=keep_dims)
    rest = tl.max(tl.where(x != x, float("-inf"), x), axis=axis, keep_dims=keep_dims)
    return tl.where(some > 0, float("nan"), rest)
'''
_BARRIER = "tl.debug_barrier()"
#: Where a reduction starts.
_START = {"sum": "0.0", "dot": "0.0", "mean": "0.0", "norm": "0.0", "amax": 'float("-inf")'}
#: Division and square root: Triton's signs are less exact in float32.
_CORRECTLY_ROUNDED = {
    torch.float32: ("tl.div_rn(a, b)", "tl.sqrt_rn(x)"),
    torch.float64: ("a / b", "tl.sqrt(x)"),
}


def source(
    program: Program, dtypes: Mapping[str, torch.dtype], compute_dtype: torch.dtype, *, interpreted: bool
) -> str:
    """The text of a program's module.

    Args:
        program: what to compute.
        dtypes: the type of each buffer.
        compute_dtype: float32 or float64, the type to compute in.
        interpreted: whether Triton's interpreter is to run it.
    """
    division, root = _CORRECTLY_ROUNDED[compute_dtype]
    mathematics = (
        "from optim_core.engines.triton import interpreted as libdevice"
        if interpreted
        else "from triton.language.extra import libdevice"
    )
    return "\n".join(
        [
            "import triton",
            "import triton.language as tl",
            mathematics,
            "",
            f"REAL = tl.constexpr({_REAL[compute_dtype]})",
            _PRELUDE,
            _function("divide", "a, b", [f"return {division}"]),
            _function("root", "x", [f"return {root}"]),
            *_Writer(program, dtypes).kernels(),
        ]
    )


def own_source(program: Program, dtypes: Mapping[str, torch.dtype]) -> str:
    """The kernels of a program alone, without what all modules have in common, to be read."""
    return "\n".join(_Writer(program, dtypes).kernels()).rstrip()


def scalars_in_order(program: Program) -> Sequence[Value]:
    """The program's scalars, in the order in which its kernels look for them: host numbers come first."""
    return sorted(program.scalars, key=lambda v: v.level is not Level.HOST)


class _Writer:
    """Writes the kernels of one program; positions in the tables of `kernel.py` are fixed at the beginning."""

    def __init__(self, program: Program, dtypes: Mapping[str, torch.dtype]) -> None:
        self.program = program
        self.dtypes = dtypes
        self.buffer = {name: i for i, name in enumerate(program.buffers)}
        self.scalar = {v.index: i for i, v in enumerate(scalars_in_order(program))}
        self.partial = {r.index: i for i, r in enumerate(program.reductions)}
        self.value = {v.index: i for i, v in enumerate(program.tensor_values)}
        # where types of several widths meet, threads may store other elements than they load
        self.mixed = len({dtypes[name].itemsize for name in program.buffers}) > 1

    def kernels(self) -> Iterator[str]:
        yield from (self._kernel(f"stage{k}", self._stage(k, values)) for k, values in enumerate(self.program.stages))
        yield from (self._kernel(f"sweep{k}", self._sweep(sweep)) for k, sweep in enumerate(self.program.sweeps))

    def _kernel(self, name: str, body: Iterable[str]) -> str:
        tables = "chunks, of_tensor, sizes, widths, scalars, partials, values, first, n_chunks, n_tensors"
        constants = (f"{constant}: tl.constexpr" for constant in ("ALIGN", "ROWS", "COLS"))
        parameters = [*(f"b{i}" for i in self.buffer.values()), tables, *constants]
        head = '(do_not_specialize=["first", "n_chunks", "n_tensors"])'
        return _function(name, ", ".join(parameters), body, head)

    # one number per tensor -----------------------------------------------------------------------------------
    def _stage(self, number: int, values: Sequence[Value]) -> Iterator[str]:
        outputs = self.program.stage_outputs(number)
        yield "t = tl.program_id(0).to(tl.int64)"
        yield "size = tl.load(sizes + t)"
        yield "width = tl.load(widths + t)"
        yield from self._coarser([*values, *(out.value for out in outputs)], own={v.index for v in values})
        accumulated = [v for v in values if is_accumulated(v)]
        if accumulated:
            yield "end = tl.load(of_tensor + t + 1)"
            for v in accumulated:
                yield _accumulator(v, f"[{TILE}]")
            yield f"for at in range(tl.load(of_tensor + t), end, {TILE}):"
            yield f"    k = at + tl.arange(0, {TILE}).to(tl.int64)"
            for v in accumulated:
                at = f"partials + n_chunks.to(tl.int64) * {self.partial[v.index]} + k"
                yield from _indented(_gathered(v, f"tl.load({at}, mask=k < end, other={_START[v.op]})"))
        for v in values:
            yield _finished(v, _joined(v, None)) if is_accumulated(v) else self._definition(v, "", "")
            yield f"tl.store({self._value(v)}, {_name(v)}.to(tl.float64))"
        if outputs:
            yield _BARRIER
        yield from (self._store(out, "", "") for out in outputs)

    def _value(self, v: Value) -> str:
        return f"values + n_tensors.to(tl.int64) * {self.value[v.index]} + t"

    # elements and rows --------------------------------------------------------------------------------------
    def _sweep(self, sweep: Sweep) -> Iterator[str]:
        yield "chunk = first + tl.program_id(0).to(tl.int64)"
        yield "t = tl.load(chunks + chunk * 3)"
        yield "width = tl.load(widths + t)"
        yield "start = tl.load(chunks + chunk * 3 + 1)"
        yield "stop = tl.load(chunks + chunk * 3 + 2)"
        yield from self._coarser(sweep.roots)
        for name in self._used(sweep):
            yield f"p{self.buffer[name]} = {self._address(name)}"
        for r in sweep.reductions:
            yield _accumulator(r, _shape(r, sweep))
        if self.program.by_rows:
            yield "begin = start * width"
            yield "end = stop * width"
        else:
            yield f"begin = tl.multiple_of(start, {TILE})"
            yield "end = stop"
        if sweep.rows:
            yield from self._rows(sweep)
        else:
            for loop in sweep.loops:
                yield from self._sampled(loop) if loop.every > 1 else self._all(loop)
                if loop is not sweep.loops[-1]:
                    yield _BARRIER
        for r in sweep.reductions:
            at = f"partials + n_chunks.to(tl.int64) * {self.partial[r.index]} + chunk"
            yield f"tl.store({at}, {_joined(r, None)})"

    def _used(self, sweep: Sweep) -> list[str]:
        """The names of the buffers of elements and rows that a sweep reads or writes."""
        read = {v.name for v in order(sweep.roots, enter=lambda v: v.level <= Level.ROW) if v.op == "input"}
        return sorted(read | {out.name for out in sweep.outputs}, key=self.buffer.__getitem__)

    def _sampled(self, loop: Loop) -> Iterator[str]:
        """A loop over every n-th element of a chunk."""
        every = loop.every
        yield f"last = (end + {every - 1}) // {every}"
        yield f"for at in range((begin + {every - 1}) // {every}, last, {TILE}):"
        yield f"    j = at + tl.arange(0, {TILE}).to(tl.int64)"
        yield "    live = j < last"
        yield f"    i = j * {every}"
        yield from _indented(self._body(loop, "live"))

    def _all(self, loop: Loop) -> Iterator[str]:
        """A loop over all elements of a chunk. Whole tiles need no mask, and so load several numbers at a time."""
        yield f"whole = begin + (end - begin) // {TILE} * {TILE}"
        yield f"for at in range(begin, whole, {TILE}):"
        yield f"    i = at + tl.arange(0, {TILE}).to(tl.int64)"
        yield from _indented(self._body(loop, ""))
        yield "if whole < end:"
        yield f"    i = whole + tl.arange(0, {TILE}).to(tl.int64)"
        yield "    live = i < end"
        yield from _indented(self._body(loop, "live"))

    def _body(self, loop: Loop, live: str) -> Iterator[str]:
        """The lines of a loop; ``live`` names the mask, if any."""
        for v in loop.values:
            yield self._definition(v, "j" if v.every > 1 else "i", live)
        for r in loop.reductions:
            yield from _accumulation(r, live)
        if self.mixed and loop.outputs:
            yield _BARRIER
        for out in loop.outputs:
            yield self._store(out, "j" if out.home.every > 1 else "i", live)

    def _rows(self, sweep: Sweep) -> Iterator[str]:
        yield "for at_row in range(start, stop, ROWS):"
        body = ["row = at_row + tl.arange(0, ROWS).to(tl.int64)[:, None]", "live_row = row < stop"]
        for step in sweep.rows:
            body += self._row_step(step)
        for loop in sweep.loops:
            if loop.every > 1:
                body += self._columns(loop)
        # other threads may store what these have yet to load
        body.append(_BARRIER)
        for loop in sweep.loops:
            if loop.every == 1:
                body += self._columns(loop)
        for r in sweep.row_reductions:
            body += _accumulation(r, "live_row")
        body += [self._store(out, "row", "live_row") for out in sweep.row_outputs]
        yield from _indented(body)

    def _row_step(self, step: RowStep) -> Iterator[str]:
        for r in step.reductions:
            yield _accumulator(r, "[ROWS, COLS]")
        if step.loop:
            yield from self._columns(step.loop)
        for v in step.values:
            yield _finished(v, _joined(v, 1)) if is_accumulated(v) else self._definition(v, "row", "live_row")

    def _columns(self, loop: Loop) -> Iterator[str]:
        """A loop over the elements of some rows, or over every n-th of the tensor that lies in them."""
        yield "for at in range(0, width, COLS):"
        yield "    column = at + tl.arange(0, COLS).to(tl.int64)[None, :]"
        yield "    live = live_row & (column < width)"
        yield "    i = row * width + column"
        if loop.every > 1:
            yield f"    live = live & (i % {loop.every} == 0)"
            yield f"    j = i // {loop.every}"
        yield from _indented(self._body(loop, "live"))

    # single values ------------------------------------------------------------------------------------------
    def _coarser(self, targets: Iterable[Value], own: Collection[int] = ()) -> Iterator[str]:
        """Definitions of what the code for some values reads and does not compute: coarser values, constants."""
        needed = reads(targets, own)
        for v in needed.constants:
            yield f"{_name(v)} = tl.full((), {_literal(v.number)}, REAL)"
        for v in needed.coarser:
            at = self._value(v) if is_local(v) else f"scalars + {self.scalar[v.index]}"
            yield f"{_name(v)} = tl.load({at}){' != 0' if v.is_mask else '.to(REAL)'}"
        for v in needed.weights:
            # 1 - weight in double: in float32 it would be wrong in the fifth digit for a weight of 0.999
            if v.op == "constant":
                yield f"{_name(v)}_double = tl.full((), {_literal(v.number)}, tl.float64)"
            else:
                yield f"{_name(v)}_double = tl.load(scalars + {self.scalar[v.index]})"
            yield f"{_name(v)}_rest = (1.0 - {_name(v)}_double).to(REAL)"
            yield f"{_name(v)}_near = tl.abs({_name(v)}_double) < 0.5"
            yield f"{_name(v)}_step = tl.where({_name(v)}_near, {_name(v)}_double, {_name(v)}_double - 1.0).to(REAL)"

    def _definition(self, value: Value, at: str, live: str) -> str:
        if value.op == "uniform":
            return f"{_name(value)} = uniform({at}, {', '.join(map(_name, value.args[1:]))}).to(REAL)"
        return f"{_name(value)} = {self._load(value.name, at, live) if value.op == 'input' else _expression(value)}"

    # memory -------------------------------------------------------------------------------------------------
    def _address(self, name: str) -> str:
        stored = _STORED[self.dtypes[name]]
        return f"tl.multiple_of(tl.load(b{self.buffer[name]} + t).to(tl.pointer_type({stored})), ALIGN)"

    def _place(self, name: str, at: str) -> str:
        """The address of a buffer's numbers; ``at`` is empty for a tensor's only one."""
        return f"p{self.buffer[name]} + {at}" if at else self._address(name)

    def _load(self, name: str, at: str, live: str) -> str:
        loaded = f"tl.load({self._place(name, at)}{f', mask={live}, other=0' if live else ''})"
        if self.dtypes[name] is torch.bfloat16:
            loaded = f"({loaded}.to(tl.uint32) << 16).to(tl.float32, bitcast=True)"
        return f"{loaded}.to(REAL)"

    def _store(self, out: Output, at: str, live: str) -> str:
        name = _name(out.value)
        dtype = self.dtypes[out.name]
        stored = f"to_bfloat16({name})" if dtype is torch.bfloat16 else f"{name}.to({_STORED[dtype]})"
        return f"tl.store({self._place(out.name, at)}, {stored}{f', mask={live}' if live else ''})"


def _expression(value: Value) -> str:
    if value.op == "size":
        return f"({count(value, '//')}).to(REAL)"
    names = [_name(a) for a in value.args]
    if value.op in ("and", "or", "where"):
        names = [
            name if a.is_mask or (i and value.op == "where") else f"({name} != 0)"
            for i, (name, a) in enumerate(zip(names, value.args, strict=True))
        ]
    if value.op == "average_of_squares":
        rest = f"(1.0 - {names[2]})" if is_local(value.args[2]) else f"{names[2]}_rest"
        return f"{names[1]} * {names[2]} + {rest} * {names[0]} * {names[0]}"
    if value.op == "lerp":
        return _lerp(*names, shared=not is_local(value.args[2]))
    if value.op == "pow" and value.args[1].op == "constant" and value.args[1].number in _POWERS:
        return _POWERS[value.args[1].number].format(names[0])
    return _EXPRESSIONS[value.op].format(*names)


def _finished(value: Value, gathered: str) -> str:
    """The value of a reduction, from what has been accumulated."""
    if value.op == "norm":
        gathered = f"tl.sqrt({gathered})"
    elif value.op == "mean":
        gathered = f"{gathered} / ({count(value, '//')}).to(tl.float64)"
    return f"{_name(value)} = ({gathered}).to(REAL)"


def _shape(reduction: Value, sweep: Sweep) -> str:
    """The shape of what a sweep accumulates of a reduction over the tensor."""
    if not sweep.rows:
        return f"[{TILE}]"
    return "[ROWS, COLS]" if finest(reduction.args) is Level.ELEMENT else "[ROWS, 1]"


def _accumulator(reduction: Value, shape: str) -> str:
    return f"a{reduction.index} = tl.full({shape}, {_START[reduction.op]}, tl.float64)"


def _accumulation(reduction: Value, live: str) -> Iterator[str]:
    x = f"{_name(reduction.args[0])}.to(tl.float64)"
    if reduction.op in ("norm", "dot"):
        x = f"{x} * {_name(reduction.args[-1])}.to(tl.float64)"
    return _gathered(reduction, f"tl.where({live}, {x}, {_START[reduction.op]})" if live else x)


def _gathered(reduction: Value, x: str) -> Iterator[str]:
    a = f"a{reduction.index}"
    if reduction.op == "amax":
        yield f"x = {x}"
        yield f"{a} = tl.where((x > {a}) | (x != x), x, {a})"
    else:
        yield f"{a} += {x}"


def _joined(reduction: Value, axis: int | None) -> str:
    """One number from an accumulator, or one per row."""
    function = "largest" if reduction.op == "amax" else "tl.sum"
    return f"{function}(a{reduction.index}, axis={axis}, keep_dims={axis is not None})"


def _lerp(start: str, end: str, weight: str, *, shared: bool) -> str:
    """From the nearer end, as torch has it."""
    near, step = f"{weight}_near", f"{weight}_step"
    if not shared:
        near = f"(tl.abs({weight}) < 0.5)"
        step = f"tl.where({near}, {weight}, {weight} - 1.0)"
    return f"tl.where({near}, {start}, {end}) + {step} * ({end} - {start})"


def _name(value: Value) -> str:
    return f"v{value.index}"


def _literal(x: float) -> str:
    return repr(x) if math.isfinite(x) else f'float("{x}")'


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _function(name: str, parameters: str, body: Iterable[str], decoration: str = "") -> str:
    return "\n".join([f"@triton.jit{decoration}", f"def {name}({parameters}):", *_indented(body), "", ""])
