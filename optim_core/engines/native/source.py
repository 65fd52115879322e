"""C text from a program: one function per sweep and per stage; `driver.c` calls them.

Plain C11, without any header of torch. Results agree with torch's to rounding: no ``-ffast-math``, NaN and inf
propagate as they do there; sums are in double. In the text, ``v7`` is the graph's value of index 7, ``a7`` what a
reduction has accumulated for a chunk, ``x7`` the same for a tensor, ``t`` the tensor, ``i`` the element, ``j`` the
position among sampled elements.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources

import torch

from optim_core.engines.lowering import Loop, Output, Program, RowStep, Sweep, count, is_accumulated, reads
from optim_core.rules.arithmetic import SIGNS
from optim_core.rules.graph import is_local
from optim_core.rules.values import Level, Value

#: How the numbers of a buffer are stored: the LOAD and STORE of prelude.h.
_STORED = {torch.float64: "f64", torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
DTYPES = frozenset(_STORED)

#: torch computes these powers so (the cube root apart), signed zeros and infinities included.
_POWERS: Mapping[float, str] = {
    2.0: "{0} * {0}",
    3.0: "{0} * {0} * {0}",
    0.5: "SQRT({0})",
    -0.5: "1 / SQRT({0})",
    -1.0: "1 / {0}",
    -2.0: "1 / ({0} * {0})",
    1 / 3: "cube_root({0})",
}
_EXPRESSIONS: Mapping[str, str] = {
    **SIGNS,
    "div": "{} / {}",
    "pow": "POW({}, {})",
    "neg": "-{}",
    "abs": "FABS({})",
    "sign": "(real)(({0} > 0) - ({0} < 0))",
    "sqrt": "SQRT({})",
    "exp": "EXP({})",
    "log": "LOG({})",
    "cos": "COS({})",
    "tanh": "TANH({})",
    "sigmoid": "1 / (1 + EXP(-{}))",
    "minimum": "smaller({}, {})",
    "maximum": "larger({}, {})",
    "atan2": "ATAN2({}, {})",
    "lerp": "LERP({}, {}, {})",  # for a weight that differs from element to element
    "average_of_squares": "{1} * {2} + (1 - {2}) * {0} * {0}",  # the same
    "where": "choose({} != 0, {}, {})",
    "and": "({} != 0) & ({} != 0)",
    "or": "({} != 0) | ({} != 0)",
    "not": "!{}",
    "copy": "{}",
    "bfloat16": "(real)from_bits((uint32_t)to_bf16((float){}) << 16)",
    "stochastic_bfloat16": "(real)stochastic_bf16((float){}, (float){})",
    "sample": "{}",  # the loop runs over the sampled elements
}
#: Where a reduction starts.
_START = {"sum": "0", "dot": "0", "mean": "0", "norm": "0", "amax": "-INFINITY"}
#: Above this, 1 / x is finite in float32.
_TINY = 1e-37
_TRANSCENDENTAL = frozenset({"exp", "log", "cos", "tanh", "sigmoid", "pow", "atan2"})


@cache
def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def source(program: Program, dtypes: Mapping[str, torch.dtype], compute_dtype: torch.dtype) -> str:
    """The C text of a program, ready to be compiled.

    Args:
        program: what to compute.
        dtypes: the type of each buffer.
        compute_dtype: float32 or float64, the type to compute in.
    """
    writer = _Writer(program, dtypes, compute_dtype)
    common = map(_text, ("prelude.h", "driver.c"))
    return "\n".join([*writer.definitions(), *common, *writer.functions(), writer.tables()])


def own_source(program: Program, dtypes: Mapping[str, torch.dtype], compute_dtype: torch.dtype) -> str:
    """The functions of a program alone, without what all programs have in common, to be read."""
    return "\n\n".join(_Writer(program, dtypes, compute_dtype).functions())


class _Writer:
    """Writes one program; positions in the tables of `driver.c` are fixed at the beginning."""

    def __init__(self, program: Program, dtypes: Mapping[str, torch.dtype], compute_dtype: torch.dtype) -> None:
        self.program = program
        self.stored = {name: _STORED[dtypes[name]] for name in program.buffers}
        self.compute_dtype = compute_dtype
        self.buffer = {name: i for i, name in enumerate(program.buffers)}
        self.scalar = {v.index: i for i, v in enumerate(program.scalars)}
        self.partial = {r.index: i for i, r in enumerate(program.reductions)}
        self.value = {v.index: i for i, v in enumerate(program.tensor_values)}

    def definitions(self) -> Iterator[str]:
        numbers = {
            "DOUBLE": int(self.compute_dtype is torch.float64),
            "HALF": int("f16" in self.stored.values()),
            "TRANSCENDENTAL": int(any(v.op in _TRANSCENDENTAL for v in self.program.values)),
            "N_REDUCTIONS": len(self.partial),
            "N_VALUES": len(self.value),
            "N_SWEEPS": len(self.program.sweeps),
        }
        return (f"#define {name} {number}" for name, number in numbers.items())

    def functions(self) -> Iterator[str]:
        yield from (self._stage(k, values) for k, values in enumerate(self.program.stages))
        yield from (self._sweep(k, sweep) for k, sweep in enumerate(self.program.sweeps))
        yield _function("static void add_up(const call_t *c)", self._add_up())

    def tables(self) -> str:
        stages, sweeps = (
            ", ".join(f"{name}{k}" for k in range(len(several)))
            for name, several in (("stage", self.program.stages), ("sweep", self.program.sweeps))
        )
        return f"static const stage_t stages[] = {{{stages}}};\nstatic const sweep_t sweeps[] = {{{sweeps or '0'}}};"

    # one number per tensor ----------------------------------------------------------------------------------
    def _stage(self, number: int, values: Sequence[Value]) -> str:
        outputs = self.program.stage_outputs(number)
        lines = ["(void)c, (void)t;"]
        if any(v.op in ("mean", "size") for v in values):
            lines.append("const int64_t size = c->sizes[t], width = c->widths[t];")
        lines += self._coarser([*values, *(out.value for out in outputs)], own={v.index for v in values})
        for v in values:
            lines += self._reduced(v) if is_accumulated(v) else [self._definition(v, "0")]
            lines.append(f"c->values[t * N_VALUES + {self.value[v.index]}] = {_name(v)};")
        lines += [self._store(out, "0") for out in outputs]
        return _function(f"static void stage{number}(const call_t *c, int64_t t)", lines)

    def _reduced(self, value: Value) -> list[str]:
        """A reduction over a tensor, from what its chunks have left."""
        k, at = value.index, self.partial[value.index]
        part = f"c->partials[k * N_REDUCTIONS + {at}]"
        joined = f"larger((real)x{k}, (real){part})" if value.op == "amax" else f"x{k} + {part}"
        return [
            f"double x{k} = {_START[value.op]};",
            "for (int64_t k = c->of_tensor[t]; k < c->of_tensor[t + 1]; k++)",
            f"    x{k} = {joined};",
            _finished(value, f"x{k}"),
        ]

    def _add_up(self) -> Iterator[str]:
        yield "(void)c;"
        for i, total in enumerate(self.program.totals):
            operand = total.args[0]
            if operand.level is Level.TENSOR:
                every, part = "c->tensors", f"c->values[k * N_VALUES + {self.value[operand.index]}]"
            else:
                every, part = "c->of_tensor[c->tensors]", f"c->partials[k * N_REDUCTIONS + {self.partial[total.index]}]"
            yield f"double x{i} = 0;"
            yield f"for (int64_t k = 0; k < {every}; k++)"
            yield f"    x{i} += {part};"
            yield f"c->totals[{i}] = x{i};"

    # elements and rows --------------------------------------------------------------------------------------
    def _sweep(self, number: int, sweep: Sweep) -> str:
        lines = ["(void)partial;", "const int64_t t = chunk->tensor;", *self._coarser(sweep.roots)]
        lines += [f"void *const {_buffer(name)} = c->buffers[{i}][t];" for name, i in self.buffer.items()]
        lines += [line for r in sweep.reductions for line in _accumulators(r)]
        lines += (
            ["const int64_t size = c->sizes[t], width = c->widths[t], run = c->runs[t];"]
            if self.program.by_rows
            else []
        )
        if sweep.rows:
            lines += _block("for (int64_t row = chunk->start; row < chunk->stop; row++)", self._row(sweep))
        else:
            by = " * width" if self.program.by_rows else ""
            lines.append(f"const int64_t start = chunk->start{by}, stop = chunk->stop{by};")
            lines += [line for loop in sweep.loops for line in self._loop(loop)]
        lines += [f"partial[{self.partial[r.index]}] = {_accumulated(r)};" for r in sweep.reductions]
        return _function(f"static void sweep{number}(const call_t *c, const chunk_t *chunk, double *partial)", lines)

    def _row(self, sweep: Sweep) -> Iterator[str]:
        for step in sweep.rows:
            yield from self._row_step(step)
        for loop in sweep.loops:
            yield from self._along_row(loop)
        for r in sweep.row_reductions:
            yield from _accumulation(r)
        for out in sweep.row_outputs:
            yield self._store(out, "row")

    def _row_step(self, step: RowStep) -> Iterator[str]:
        for r in step.reductions:
            yield from _accumulators(r)
        if step.loop:
            yield from self._along_row(step.loop)
        for v in step.values:
            yield _finished(v, _accumulated(v)) if is_accumulated(v) else self._definition(v, "row")

    def _along_row(self, loop: Loop) -> list[str]:
        """A loop over a row: one run, or several equally far apart, as in the transpose of a matrix."""
        body = ["const int64_t stop = start + run;", *self._loop(loop)]
        return _block("for (int64_t start = row * run; start < size; start += size / width * run)", body)

    def _loop(self, loop: Loop) -> list[str]:
        """A loop over the elements from start to stop, or over every n-th of them."""
        every = loop.every
        head = "for (int64_t i = start; i < stop; i++)"
        body = []
        if every > 1:
            head = f"for (int64_t j = (start + {every - 1}) / {every}; j < (stop + {every - 1}) / {every}; j++)"
            body.append(f"const int64_t i = j * {every};")
        body += [self._definition(v, "j" if v.every > 1 else "i") for v in loop.values]
        body += [line for r in loop.reductions for line in _accumulation(r)]
        body += [self._store(out, "j" if every > 1 else "i") for out in loop.outputs]
        return [f"#pragma omp simd{''.join(map(_clause, loop.reductions))}", *_block(head, body)]

    # single values ------------------------------------------------------------------------------------------
    def _coarser(self, targets: Iterable[Value], own: Collection[int] = ()) -> list[str]:
        """Definitions of what the code for some values reads and does not compute."""
        needed = reads(targets, own)
        lines = []
        for v in needed.coarser:
            if is_local(v):
                lines.append(f"const real {_name(v)} = (real)c->values[t * N_VALUES + {self.value[v.index]}];")
            else:
                kind = "int" if v.is_mask else "real"
                lines.append(f"const {kind} {_name(v)} = ({kind})c->scalars[{self.scalar[v.index]}];")
                lines += self._reciprocal(v)
        for v in needed.weights:
            # 1 - weight in double: in float32 it would be wrong in the fifth digit for a weight of 0.999
            weight = f"({v.number.hex()})" if v.op == "constant" else f"c->scalars[{self.scalar[v.index]}]"
            lines.append(f"const int v{v.index}_near = fabs({weight}) < 0.5;")
            lines.append(f"const real v{v.index}_step = (real)(v{v.index}_near ? {weight} : {weight} - 1);")
            lines.append(f"const real v{v.index}_rest = (real)(1 - {weight});")
        return lines

    def _reciprocal(self, value: Value) -> Iterator[str]:
        """1 / value, rounded once, for a number that all share; as a product of two, since it may be too large."""
        number, name = f"c->scalars[{self.scalar[value.index]}]", f"v{value.index}_inverse"
        yield f"const int {name}_overflows = FABS((real)(1 / {number})) == (real)INFINITY;"
        yield f"const real {name}_scale = {name}_overflows ? (real)0x1p64 : 1;"
        yield f"const real {name} = {name}_overflows ? 1 / ((real){number} * (real)0x1p64) : (real)(1 / {number});"

    def _definition(self, value: Value, at: str) -> str:
        kind = "int" if value.is_mask else "real"
        return f"const {kind} {_name(value)} = {self._expression(value, at)};"

    def _expression(self, value: Value, at: str) -> str:
        if value.op == "input":
            buffer = _buffer(value.name) if value.level <= Level.ROW else f"c->buffers[{self.buffer[value.name]}][t]"
            return f"LOAD_{self.stored[value.name]}({buffer}, {at})"
        if value.op == "size":
            return f"(real)({count(value, '/')})"
        if value.op == "uniform":
            return f"(real)uniform((uint64_t){at}, {', '.join(f'(uint64_t){_name(a)}' for a in value.args[1:])})"
        return _computed(value)

    def _store(self, out: Output, at: str) -> str:
        local = out.home.level <= Level.ROW
        buffer = _buffer(out.name) if local else f"c->buffers[{self.buffer[out.name]}][t]"
        return f"STORE_{self.stored[out.name]}({buffer}, {at}, {_name(out.value)});"


def _computed(value: Value) -> str:
    """An operation on operands that have been defined."""
    names = [_name(a) for a in value.args]
    last = value.args[-1]
    if value.op == "average_of_squares" and not is_local(last):
        return f"{names[1]} * {names[2]} + v{last.index}_rest * {names[0]} * {names[0]}"
    if value.op == "lerp" and not is_local(last):
        return f"LERP_FROM(v{last.index}_near, {names[0]}, {names[1]}, v{last.index}_step)"
    if value.op == "div" and last.level is Level.HOST:
        return _divided(names[0], last)
    if value.op == "pow" and last.op == "constant" and last.number in _POWERS:
        return _POWERS[last.number].format(names[0])
    return _EXPRESSIONS[value.op].format(*names)


def _finished(value: Value, accumulated: str) -> str:
    """The value of a reduction, from what has been accumulated."""
    if value.op == "norm":
        accumulated = f"sqrt({accumulated})"
    elif value.op == "mean":
        accumulated = f"{accumulated} / (double)({count(value, '/')})"
    return f"const real {_name(value)} = (real)({accumulated});"


def _clause(reduction: Value) -> str:
    """How OpenMP joins what lanes have accumulated."""
    if reduction.op != "amax":
        return f" reduction(+:a{reduction.index})"
    return f" reduction(max:a{reduction.index}) reduction(+:nan{reduction.index})"


def _accumulators(reduction: Value) -> Iterator[str]:
    yield f"double a{reduction.index} = {_START[reduction.op]};"
    if reduction.op == "amax":
        yield f"int64_t nan{reduction.index} = 0;"


def _accumulation(reduction: Value) -> Iterator[str]:
    a, x = f"a{reduction.index}", f"(double){_name(reduction.args[0])}"
    if reduction.op == "amax":  # comparisons forget NaN
        yield f"nan{reduction.index} += {x} != {x};"
        yield f"{a} = {x} > {a} ? {x} : {a};"
    elif reduction.op in ("norm", "dot"):
        yield f"{a} += {x} * (double){_name(reduction.args[-1])};"
    else:
        yield f"{a} += {x};"


def _accumulated(reduction: Value) -> str:
    a = f"a{reduction.index}"
    return f"nan{reduction.index} ? NAN : {a}" if reduction.op == "amax" else a


def _divided(x: str, by: Value) -> str:
    """x / by, for a number that all share: a division takes as long as ten products."""
    if by.op != "constant":
        return f"{x} * v{by.index}_inverse * v{by.index}_inverse_scale"
    return f"{x} * {_literal(1 / by.number)}" if abs(by.number) > _TINY else f"{x} / {_name(by)}"


def _name(value: Value) -> str:
    return f"v{value.index}" if value.op != "constant" else _literal(value.number)


def _literal(x: float) -> str:
    if math.isfinite(x):
        return f"((real){x.hex()})"
    return "((real)NAN)" if math.isnan(x) else f"((real){'-' if x < 0 else ''}INFINITY)"


def _buffer(name: str) -> str:
    return "b_" + "".join(c if c.isalnum() else "_" for c in name)


def _block(head: str, body: Iterable[str]) -> list[str]:
    return [head, "{", *(f"    {line}" for line in body), "}"]


def _function(head: str, body: Iterable[str]) -> str:
    return "\n".join(_block(head, body))
