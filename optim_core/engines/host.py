"""Values that all parameters share, as one Python function: to walk the graph takes longer than to compute them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from optim_core.rules.arithmetic import HOST_OPERATIONS, SIGNS
from optim_core.rules.graph import is_local, order
from optim_core.rules.values import Level, Value

#: From host numbers by name, states on level WHOLE by name, and totals by position.
Compute: TypeAlias = Callable[[Mapping[str, float], Mapping[str, Any], Mapping[int, float]], list[float]]

#: Operations that Python has a sign for. Others, and division, which Python refuses by zero, are calls.
_EXPRESSIONS = {**SIGNS, "neg": "-{}", "where": "{1} if {0} else {2}"}


def function(values: Sequence[Value]) -> Compute:
    """A function that computes some shared values.

    Example:
        >>> from optim_core.rules.trace import Trace
        >>> trace = Trace({"lr": 0.0})
        >>> lr = trace.input("lr", Level.HOST)
        >>> function([1 - lr * lr, lr])({"lr": 0.5}, {}, {})
        [0.75, 0.5]
    """
    lines = [f"v{v.index} = {_text(v)}" for v in order(values, enter=lambda v: not is_local(v))]
    body = "\n    ".join([*lines, f"return [{', '.join(f'float(v{v.index})' for v in values)}]"])
    names: dict[str, Any] = {f"_{op}": f for op, f in HOST_OPERATIONS.items()} | {"inf": math.inf, "nan": math.nan}
    exec(f"def compute(host, whole, totals):\n    {body}", names)  # noqa: S102 - the text is from the table above
    return names["compute"]  # type: ignore[no-any-return]


def _text(v: Value) -> str:
    if v.op == "constant":
        return repr(float(v.number))
    if v.op == "input":
        return f"{'host' if v.level is Level.HOST else 'whole'}[{v.name!r}]"
    if v.op == "sum":
        return f"totals[{next(i for i, total in enumerate(v.trace.totals) if total is v)}]"
    operands = [f"v{a.index}" for a in v.args]
    return _EXPRESSIONS[v.op].format(*operands) if v.op in _EXPRESSIONS else f"_{v.op}({', '.join(operands)})"
