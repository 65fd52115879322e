"""Formula: an expression over all parameters of an optimizer, run by the engines apart from a method's own rule."""

from __future__ import annotations

import inspect
import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optim_core.entry import compute_dtype, real
from optim_core.errors import RuleError
from optim_core.method import scalars, split
from optim_core.rules.bucket import Bucket
from optim_core.rules.engines import choose, settle
from optim_core.rules.graph import Graph, Home
from optim_core.rules.step import run
from optim_core.rules.values import Level, Trace, Value

Columns = Mapping[str, Sequence[Tensor]]


@dataclass(frozen=True)
class Share:
    """Parameters to which the same options apply.

    Attributes:
        options: by name; numbers, switches and words as in a parameter group.
        columns: one tensor for each parameter by buffer name, ``p`` the parameters themselves.
    """

    options: Mapping[str, Any]
    columns: Columns


class Formula:
    """An expression in the words of :mod:`optim_core.rules`, over all parameters.

    Like a rule it is traced once and run by an engine, one pass to write and one before it for each level of
    ``total``; unlike a rule it may write any of its buffers.

    Args:
        expression: takes buffers by position and options by keyword; returns the new values of those buffers that it
            writes, by name.

    Example:
        >>> from optim_core.rules import sqrt, square, total
        >>> normalise = Formula(lambda p, *, to: {"p": p * to / sqrt(total(square(p)))})
        >>> a, b = torch.tensor([3.0]), torch.tensor([4.0])
        >>> normalise([Share({"to": 10.0}, {"p": [a, b]})])
        >>> a.item(), b.item()
        (6.0, 8.0)
    """

    def __init__(self, expression: Callable[..., Mapping[str, Value | float]]) -> None:
        self.expression = expression
        parameters = inspect.signature(expression).parameters.values()
        #: names of the buffers and of the options that the expression takes
        self.buffers = tuple(q.name for q in parameters if q.kind is not q.KEYWORD_ONLY)
        self.options = tuple(q.name for q in parameters if q.kind is q.KEYWORD_ONLY)
        self._graphs: dict[Hashable, list[Graph]] = defaultdict(list)
        self._standing: list[_Standing] = []
        self._asked: tuple[str, bool | None] = ("auto", None)

    @torch.no_grad()
    def __call__(self, shares: Sequence[Share], *, engine: str = "auto", foreach: bool | None = None) -> None:
        """Compute and write.

        Args:
            shares: all parameters; buffers other than ``p`` that are written must share no memory.
            engine, foreach: as for :class:`~optim_core.RuleOptimizer`.

        Raises:
            EngineUnavailable: the engine that was asked for cannot work on these tensors.
        """
        work = [self._prepared(share) for share in shares]
        if not self._is_as_before(work, (engine, foreach)):
            self._asked = (engine, foreach)
            self._standing = []  # a failure must leave nothing half assembled
            elements = sum(p.numel() for _, _, columns in work for p in columns["p"])
            self._standing = [
                _Standing(
                    list(columns["p"]),
                    _layout(columns),
                    fixed,
                    list(self._assembled(host, fixed, columns, elements=elements)),
                )
                for host, fixed, columns in work
            ]
        for standing, (host, _, columns) in zip(self._standing, work, strict=True):
            standing.renew(host, columns)
        buckets = [bucket for standing in self._standing for bucket, _ in standing.buckets]
        run(buckets, {}, foreach=foreach)
        for bucket in buckets:  # gradients need not outlive the call
            bucket.buffers = dict.fromkeys(bucket.buffers, ())

    def _prepared(self, share: Share) -> tuple[dict[str, float], _Fixed, Columns]:
        host, fixed = split({name: share.options[name] for name in self.options})
        columns = {name: share.columns[name] for name in dict.fromkeys(("p", *self.buffers))}
        if not all(map(Tensor.numel, columns["p"])):
            kept = [i for i, p in enumerate(columns["p"]) if p.numel()]
            columns = {name: [column[i] for i in kept] for name, column in columns.items()}
        if any(map(Tensor.is_complex, columns["p"])):  # made anew each time, so that nothing stands
            columns = {name: [real(x.detach()) for x in column] for name, column in columns.items()}
        return host, fixed, columns

    def _is_as_before(self, work: Sequence[tuple[dict[str, float], _Fixed, Columns]], asked: object) -> bool:
        """Whether the buckets of the last call serve again: only numbers and addresses differ."""
        return (
            asked == self._asked
            and len(work) == len(self._standing)
            and all(
                fixed == standing.fixed
                and len(columns["p"]) == len(standing.params)
                and all(map(operator.is_, columns["p"], standing.params))
                and _layout(columns) == standing.layout
                and all(bucket.graph.trace.holds(host) for bucket, _ in standing.buckets)
                for standing, (host, fixed, columns) in zip(self._standing, work, strict=True)
            )
        )

    # assembling ---------------------------------------------------------------------------------------------
    def _assembled(
        self, host: Mapping[str, float], fixed: _Fixed, columns: Columns, *, elements: int
    ) -> Iterable[tuple[Bucket, list[int]]]:
        together: dict[Any, list[int]] = defaultdict(list)
        graphs: dict[int, Graph] = {}
        for i, p in enumerate(columns["p"]):
            graph = self._graph(host, fixed, p.shape)
            graphs[id(graph)] = graph
            homes = {"p": Home(Level.ELEMENT), **graph.buffers}
            tensors = {name: columns[name][i] for name in homes}
            choice = choose(*self._asked, tensors, homes, compute_dtype(p))
            together[id(graph), choice, p.device, tuple(x.dtype for x in tensors.values())].append(i)
        for (graph_id, choice, *_), places in together.items():
            graph = graphs[graph_id]
            buffers = {name: [columns[name][i] for i in places] for name in {"p": None, **graph.buffers}}
            dtype = compute_dtype(buffers["p"][0])
            bucket = Bucket(graph, host, buffers, dtype, choice.engine, choice.reason)
            settle(bucket, self._asked[0], elements)
            yield bucket, places

    def _graph(self, host: Mapping[str, float], fixed: _Fixed, shape: Sequence[int]) -> Graph:
        known = self._graphs[fixed]
        for graph in known:
            if graph.trace.holds(host) and graph.trace.fits(shape):
                return graph
        known.append(self._traced(host, fixed, shape))
        del known[:-_KEPT]
        return known[-1]

    def _traced(self, host: Mapping[str, float], fixed: _Fixed, shape: Sequence[int]) -> Graph:
        trace = Trace(host, shape)
        options = {name: host.get(name, None) for name in self.options} | {
            name: value if value is None or isinstance(value, (bool, str)) else (0.0,) * value for name, value in fixed
        }
        named = scalars(options, trace)
        buffers = {name: trace.input(name, Level.ELEMENT) for name in self.buffers}
        outputs = {}
        for name, value in self.expression(*buffers.values(), **named).items():
            if name not in buffers:
                raise RuleError(f"{self.expression.__qualname__} returns {name!r}, which it does not take")
            new = trace.number(value) if isinstance(value, Value) else trace.constant(value)
            if new is not buffers[name]:
                outputs[name] = new
        return Graph(outputs, {}, trace, dict.fromkeys(outputs, Home(Level.ELEMENT)))


_Fixed = tuple[tuple[str, Any], ...]
#: How many graphs are kept for one set of options.
_KEPT = 16
#: What may change from call to call without a change of address.
_LOOKS = (operator.attrgetter("dtype"), Tensor.stride, Tensor.numel, Tensor.is_neg)


def _layout(columns: Columns) -> list[Any]:
    """How tensors lie in memory, and where the parameters do."""
    looks = [list(map(look, column)) for column in columns.values() for look in _LOOKS]
    return [*looks, list(map(Tensor.data_ptr, columns["p"]))]


@dataclass
class _Standing:
    """What one share's buckets rest on, and the buckets, each with its parameters' positions in the share."""

    params: list[Tensor]
    layout: list[Any]
    fixed: _Fixed
    buckets: list[tuple[Bucket, list[int]]]

    def renew(self, host: Mapping[str, float], columns: Columns) -> None:
        for bucket, places in self.buckets:
            bucket.host = host
            whole = len(places) == len(self.params)
            bucket.buffers = {
                name: columns[name] if whole else [columns[name][i] for i in places] for name in bucket.buffers
            }
            for name, known in bucket.addresses.items():  # engines keep what they have made of a list of addresses
                now = list(map(Tensor.data_ptr, bucket.buffers[name]))
                if now != known:
                    bucket.addresses[name] = now
